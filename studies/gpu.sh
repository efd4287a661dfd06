#!/usr/bin/env bash
# Everything that needs a card, in under 12 minutes of one data-centre card, with nothing to fetch.
#
#     studies/gpu.sh -o out -d raw/Dataset004_Hippocampus                  all parts
#     studies/gpu.sh -o out -d raw/Dataset004_Hippocampus encode steps     some of them
#     REHEARSAL=1 studies/gpu.sh -o out                                    on the CPU, with tiny sizes and a phantom
#     PRINT=1 studies/gpu.sh -o out                                        only print limits and commands
#
# Parts: tests (those marked gpu), encode (against segment-anything), steps (of training, against nnU-Net's), pretrain
# (an encoder, continued once from its state; its images are made on the card), nnunet (3d_fullres on 5 and on all
# training cases of fold 0). Each part has a limit of time, and one that fails does not stop the others. The output
# folder, $OUT unless -o is given, receives a log of each part, parts.tsv (part, seconds, exit status), every record, and
# all preprocessed data and models with their checkpoints. PYTHON is the interpreter; its folder has samunet's commands.

set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
BIN=$(dirname "$PYTHON")
out=${OUT:-} raw=""
while getopts o:d: flag; do
  case $flag in
    o) out=$OPTARG ;;
    d) raw=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
parts=("${@:-}")
[ -n "${parts[0]}" ] || parts=(tests encode steps pretrain nnunet)
if [ -z "$out" ]; then echo "gpu.sh: give the output folder with -o, or in OUT" >&2; exit 2; fi

if [ -n "${REHEARSAL:-}" ]; then
  raw=$out/raw/Dataset900_Phantom
  encode=(--encoders mini --input-sizes 64 --dtypes float32 --rounds 1 --device cpu)
  steps=(--shape 8 24 20 --rounds 1 --device cpu)
  first=64:2:1 then=64:3:1 device=cpu shots=(2) length=(--iterations 10)
else
  [ -n "$raw" ] || [ -n "${PRINT:-}" ] || { echo "gpu.sh: give the raw dataset with -d" >&2; exit 2; }
  raw=${raw:-raw/Dataset004_Hippocampus}
  encode=(--encoders vit_b vit_h mini --input-sizes 1024 1024 256 --batch 8 --rounds 3 --device cuda)
  steps=(--shape 160 256 256 --rounds 10 --device cuda)
  first=128:150:2 then=128:300:2 device=cuda shots=(5 all) length=(--minutes_network 1.25)
fi
# nnU-Net's compiler would take a minute of each of its networks.
export nnUNet_compile=${nnUNet_compile:-f}
number=$(basename "$raw" | sed 's/Dataset0*\([0-9]*\)_.*/\1/')
folders=(--raw "$(dirname "$raw")" --preprocessed "$out/preprocessed" --results "$out/results")
failed=0

# run PART SECONDS COMMAND...: one command within its limit of time; its output goes into the part's log.
run() {
  local part=$1 limit=$2 started status
  shift 2
  if [ -n "${PRINT:-}" ]; then printf '%s\t%s\n' "$limit" "$*"; return; fi
  [ -z "${REHEARSAL:-}" ] || limit=$((10 * limit))  # a busy processor is slow
  started=$(date +%s)
  timeout "$limit" "$@" >>"$out/$part.log" 2>&1
  status=$?
  printf '%s\t%s\t%s\n' "$part" "$(($(date +%s) - started))" "$status" | tee -a "$out/parts.tsv"
  [ "$status" = 0 ] || failed=1
}

[ -n "${PRINT:-}" ] || mkdir -p "$out"
for part in "${parts[@]}"; do
  case $part in
    tests) run tests 60 "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider $(grep -rl "mark\.gpu" tests --include="test_*.py") ;;
    encode) run encode 100 "$PYTHON" studies/encoder_speed.py "${encode[@]}" --output "$out/encoder_speed.jsonl" ;;
    steps) run steps 80 "$PYTHON" studies/train_step.py "${steps[@]}" --output "$out/train_step.jsonl" ;;
    pretrain)
      for phase in $first $then; do
        run pretrain 45 "$BIN/samunet_pretrain_encoder" -o "$out/encoder" --phases "$phase" -device "$device"
      done ;;
    nnunet)
      [ -z "${REHEARSAL:-}" ] || run nnunet 60 "$PYTHON" -c \
        "import sys, pathlib, samunet.dataset.phantom as p; p.make_phantom_dataset(pathlib.Path(sys.argv[1]))" "$(dirname "$raw")"
      run nnunet 30 "$BIN/samunet_plan_and_preprocess" -d "$number" --no_embeddings "${folders[@]:0:4}"
      run nnunet 330 "$BIN/samunet_benchmark" -d "$number" --variants label_prior --nnunet 3d_fullres --folds 0 \
        --shots "${shots[@]}" "${length[@]}" -device "$device" "${folders[@]}" ;;
    *) echo "gpu.sh: no part $part" >&2; exit 2 ;;
  esac
done
exit $failed
