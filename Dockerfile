# samunet in a container, with the versions of constraints.txt:
#     docker build -t samunet .
#     docker run --rm -v "$PWD/data:/data" samunet samunet_plan_and_preprocess -d 4
# /data holds raw, preprocessed and results. With an NVIDIA GPU add `--gpus all`; so that files are yours add
# `--user "$(id -u):$(id -g)"`.
FROM python:3.12-slim
WORKDIR /opt/samunet
COPY setup.py pyproject.toml constraints.txt README.md LICENSE ./
COPY samunet samunet
RUN python -m pip install --no-cache-dir --disable-pip-version-check -c constraints.txt ".[report,tensorboard]"
# Whoever runs it may have no home folder; libraries write their settings there.
ENV HOME=/tmp samunet_raw=/data/raw samunet_preprocessed=/data/preprocessed samunet_results=/data/results
WORKDIR /data
CMD ["samunet_info"]
