// The page of samunet_annotate: three linked planes of one case. The server holds every state; this script displays it
// and sends one action after the other. Places are voxels [superior, posterior, left] of the display grid.
"use strict";
const TOKEN = new URLSearchParams(location.search).get("token") || "";
const COLOURS = JSON.parse(document.body.dataset.colours);  // of labels: samunet.dataset.label_colours
const TOOL_KEYS = {v: "look", p: "positive", n: "negative", b: "box", r: "brush", e: "eraser"};
const ZOOM_STEP = 1.25, POLL_MS = 1000, MASK_OPACITY = 0.45;
const NO_SERVER = "The server does not answer.\n  mend:  Start samunet_annotate again and open its new address; " +
                  "everything that was displayed is saved.";
const $ = (id) => document.getElementById(id);

const view = {case: null, info: null, state: null, cases: [], classes: [], tool: "look", chosen: 0, channel: 0,
              place: [0, 0, 0], zoom: 1, windows: [], panes: [], loads: 0, ticket: 0, versions: {}, over: null};
let queue = Promise.resolve();  // actions, one after the other

async function request(path, query, options = {}) {
  const address = path + "?" + new URLSearchParams(query), headers = {"X-Samunet-Token": TOKEN};
  const answer = await fetch(address, {...options, headers}).catch(() => { throw new Error(NO_SERVER); });
  if (!answer.ok) throw new Error((await answer.json()).message);
  return answer;
}

const json = async (path, query, options) => (await request(path, query, options)).json();
const voxels = async (path, query) => new Uint16Array(await (await request(path, query)).arrayBuffer());

async function loading(work) {  // `data-busy` counts what is under way
  document.body.dataset.busy = ++view.loads;
  await work().catch((fault) => show(fault.message));
  document.body.dataset.busy = --view.loads;
}

function show(message) {
  $("message").textContent = message;
  $("message").hidden = !message;
}

function send(action) {
  const name = view.case;
  queue = queue.then(() => loading(async () => {
    const body = JSON.stringify({case: name, version: view.versions[name], action});
    const answer = await json("/action", {}, {method: "POST", body});
    show(answer.state.refreshed ? "Another page has changed this case; it is up to date now." : "");
    take(answer, name);
  }));
}

async function poll() {
  if (view.state && !view.loads && !document.hidden) {
    const name = view.case;
    await json("/state", {case: name}).then((answer) => take(answer, name)).catch((fault) => show(fault.message));
  }
  setTimeout(poll, POLL_MS);
}

function take({cases, classes, state}, name) {
  if (state.version < view.versions[name]) return;  // overtaken by a newer answer
  view.versions[name] = state.version;
  const changed = name === view.case && state.version !== view.state?.version;
  Object.assign(view, {cases, classes}, changed ? {state} : {});
  if (changed) loadSlices(true);
  controls();
}

async function open(name) {
  await loading(async () => {
    $("under").value = `opening ${name} ...`;
    const info = await json("/case", {case: name}).finally(() => { $("under").value = ""; });
    Object.assign(view, {case: name, info, state: null, zoom: 1, windows: info.windows.map((ends) => [...ends]),
                         channel: Math.min(view.channel, info.windows.length - 1),
                         place: info.shape.map((size) => Math.floor(size / 2))});
    location.hash = encodeURIComponent(name);
    show("");
    buildPanes();
    $("channel").replaceChildren(...info.windows.map((_, index) => new Option(index, index)));
    $("channels").hidden = info.windows.length < 2;
    take(info, name);
  });
}

function step(direction) {
  const other = view.cases[view.cases.findIndex((each) => each.name === view.case) + direction];
  if (other) open(other.name);
}

function element(tag, textContent, classes, onclick) {
  const made = Object.assign(document.createElement(tag), {textContent, onclick});
  for (const [name, on] of Object.entries(classes)) made.classList.toggle(name, on);
  return made;
}

function controls() {
  $("cases").replaceChildren(...view.cases.map(({name, begun, finished}) =>
    element("li", name, {begun, finished, current: name === view.case}, () => open(name))));
  $("classes").replaceChildren(...view.classes.map(({name, value}, index) => {
    const button = element("button", `${index + 1} ${name}`, {chosen: index === view.chosen}, () => choose(index));
    button.style.setProperty("--colour", css(colour(value)));
    return button;
  }));
  for (const button of document.querySelectorAll("[data-tool]"))
    button.classList.toggle("chosen", button.dataset.tool === view.tool);
  $("finished").checked = Boolean(view.cases.find((each) => each.name === view.case)?.finished);
  $("undo").disabled = !view.state?.undo;
  $("redo").disabled = !view.state?.redo;
  if (view.info && !["window", "level"].includes(document.activeElement.id)) {
    const [low, high] = view.windows[view.channel];
    $("window").value = +(high - low).toPrecision(5);
    $("level").value = +((low + high) / 2).toPrecision(5);
    $("channel").value = view.channel;
  }
}

const choose = (index) => { view.chosen = Math.min(index, view.classes.length - 1); controls(); };

const colour = (value) => COLOURS[(value - 1) % COLOURS.length];
const css = (rgb, alpha = 1) => `rgb(${rgb.join(" ")} / ${alpha})`;
const labelColour = (name) => colour((view.classes.find((each) => each.name === name) || {value: 1}).value);

function buildPanes() {
  view.panes.forEach((pane) => pane.watch.disconnect());
  view.panes = view.info.planes.map((plane, number) => {
    const box = element("div", "", {}), canvas = element("canvas", "", {}), caption = element("span", "", {});
    canvas.id = plane.name;
    box.append(canvas, caption);
    const rows = view.info.shape[plane.down], columns = view.info.shape[plane.right];
    const pane = {plane, number, canvas, caption, rows, columns, centre: [rows / 2, columns / 2], index: -1,
                  image: null, mask: null, slice: new OffscreenCanvas(columns, rows), drawn: [], first: null};
    for (const [event, handler] of Object.entries({pointerdown: down, pointermove: move, pointerup: up,
                                                   pointercancel: cancel, wheel}))
      canvas.addEventListener(event, (each) => handler(pane, each), {passive: false});
    canvas.addEventListener("contextmenu", (each) => each.preventDefault());
    pane.watch = new ResizeObserver(() => draw(pane));
    pane.watch.observe(canvas);
    return pane;
  });
  $("panes").classList.toggle("flat", view.panes.length === 1);
  $("panes").replaceChildren(...view.panes.map((pane) => pane.canvas.parentElement));
}

function loadSlices(masksToo = false) {
  const ticket = ++view.ticket, name = view.case, channel = view.channel;
  return loading(() => Promise.all(view.panes.map(async (pane) => {
    const index = view.place[pane.plane.axis], query = {case: name, plane: pane.number, index};
    const moved = index !== pane.index || channel !== pane.channel;
    if (moved || masksToo || pane.stale) {
      pane.stale = true;  // until the newest answer is here: an older one is not displayed
      const [image, mask] = await Promise.all([moved ? voxels("/image", {...query, channel}) : pane.image,
                                               voxels("/mask", query)]);
      if (ticket !== view.ticket || name !== view.case) return;
      Object.assign(pane, {index, channel, image, mask, stale: false});
      paint(pane);
    }
    if (view.over) under(...view.over);
    draw(pane);
  })));
}

// The pixels of one slice: grey values within the window, and the mask's colours over them.
function paint(pane) {
  if (!pane.image) return;
  const context = pane.slice.getContext("2d"), pixels = context.createImageData(pane.columns, pane.rows);
  const [lowest, highest] = view.info.ranges[view.channel], [low, high] = view.windows[view.channel];
  const scale = (highest - lowest) / 65535 / Math.max(high - low, 1e-12) * 255;
  const offset = (lowest - low) / Math.max(high - low, 1e-12) * 255;
  for (let i = 0; i < pane.image.length; i++) {
    const grey = Math.max(0, Math.min(255, pane.image[i] * scale + offset)), value = pane.mask[i];
    const share = value ? MASK_OPACITY : 0, rgb = value ? colour(value) : COLOURS[0];
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = grey * (1 - share) + rgb[c] * share;
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
}

// Canvas pixels for each row and column. Row r spans [r, r + 1) of the slice; the centre is in the canvas's middle.
function scales(pane) {
  const mm = [view.info.spacing_mm[pane.plane.down], view.info.spacing_mm[pane.plane.right]];
  const fit = Math.min(pane.canvas.height / (pane.rows * mm[0]), pane.canvas.width / (pane.columns * mm[1]));
  return [mm[0] * fit * view.zoom, mm[1] * fit * view.zoom];
}

function toCanvas(pane, row, column) {
  const [down, right] = scales(pane);
  return [(column - pane.centre[1]) * right + pane.canvas.width / 2,
          (row - pane.centre[0]) * down + pane.canvas.height / 2];
}

function toSlice(pane, event) {  // [row, column] under the pointer, with fractions
  const edge = pane.canvas.getBoundingClientRect(), [down, right] = scales(pane);
  const x = (event.clientX - edge.left) * pane.canvas.width / edge.width;
  const y = (event.clientY - edge.top) * pane.canvas.height / edge.height;
  return [(y - pane.canvas.height / 2) / down + pane.centre[0], (x - pane.canvas.width / 2) / right + pane.centre[1]];
}

function toVoxel(pane, [row, column]) {  // of the displayed slice; null outside the image
  const r = Math.floor(row), c = Math.floor(column), voxel = [0, 0, 0];
  if (!pane.image || r < 0 || c < 0 || r >= pane.rows || c >= pane.columns) return null;
  voxel[pane.plane.axis] = pane.drawn.length ? pane.drawn[0][pane.plane.axis] : pane.index;
  voxel[pane.plane.down] = pane.plane.upwards ? pane.rows - 1 - r : r;
  voxel[pane.plane.right] = c;
  return voxel;
}

function ofVoxel(pane, voxel) {  // [row, column] of a voxel's first corner in the slice
  const down = voxel[pane.plane.down];
  return [pane.plane.upwards ? pane.rows - 1 - down : down, voxel[pane.plane.right]];
}

function draw(pane) {
  const {canvas} = pane, context = canvas.getContext("2d"), ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  canvas.height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (!pane.image) return;
  const [down, right] = scales(pane), [x, y] = toCanvas(pane, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(pane.slice, x, y, pane.columns * right, pane.rows * down);
  pane.caption.textContent = `${pane.plane.name} ${pane.index + 1} / ${view.info.shape[pane.plane.axis]}`;
  drawCross(pane, context);
  for (const box of view.state.boxes)
    if (box.first[pane.plane.axis] <= pane.index && pane.index <= box.last[pane.plane.axis])
      drawBox(pane, context, box.first, box.last, labelColour(box.label));
  for (const point of view.state.points)
    if (point.place[pane.plane.axis] === pane.index) drawPoint(pane, context, point);
  drawUnfinished(pane, context);
}

function drawCross(pane, context) {  // with a gap around the place, which stays visible
  const [row, column] = ofVoxel(pane, view.place), [x, y] = toCanvas(pane, row + 0.5, column + 0.5);
  const [down, right] = scales(pane), gap = Math.max(down, right, 10) * 1.5;
  Object.assign(context, {strokeStyle: "rgb(120 200 120 / 0.5)", lineWidth: 1});
  lines(context, [[0, y, x - gap, y], [x + gap, y, pane.canvas.width, y], [x, 0, x, y - gap],
                  [x, y + gap, x, pane.canvas.height]]);
}

function lines(context, ends) {
  context.beginPath();
  for (const [x0, y0, x1, y1] of ends) {
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
  }
  context.stroke();
}

function drawPoint(pane, context, point) {
  const [row, column] = ofVoxel(pane, point.place), [x, y] = toCanvas(pane, row + 0.5, column + 0.5);
  Object.assign(context, {fillStyle: css(labelColour(point.label)), strokeStyle: "white", lineWidth: 1.5});
  context.beginPath();
  context.arc(x, y, 5, 0, 2 * Math.PI);
  context.fill();
  lines(context, [[x - 3, y, x + 3, y], ...(point.positive ? [[x, y - 3, x, y + 3]] : [])]);
}

function drawBox(pane, context, first, last, rgb) {
  const [[r0, c0], [r1, c1]] = [ofVoxel(pane, first), ofVoxel(pane, last)];
  const [x0, y0] = toCanvas(pane, Math.min(r0, r1), Math.min(c0, c1));
  const [x1, y1] = toCanvas(pane, Math.max(r0, r1) + 1, Math.max(c0, c1) + 1);
  Object.assign(context, {strokeStyle: css(rgb), lineWidth: 2});
  context.strokeRect(x0, y0, x1 - x0, y1 - y0);
}

function drawUnfinished(pane, context) {  // a stroke or box whose button is still down
  if (!pane.drawn.length) return;
  const rgb = view.tool === "eraser" ? [255, 255, 255] : colour(view.classes[view.chosen].value);
  if (view.tool === "box") return drawBox(pane, context, pane.drawn[0], pane.drawn.at(-1), rgb);
  const [down] = scales(pane), mm = view.info.spacing_mm[pane.plane.down];
  context.strokeStyle = css(rgb, 0.5);
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = Math.max(2, 2 * Number($("radius").value) * down / mm);
  context.beginPath();
  const path = pane.drawn.map((voxel) => toCanvas(pane, ...ofVoxel(pane, voxel).map((each) => each + 0.5)));
  for (const [x, y] of [...path, [path.at(-1)[0] + 0.1, path.at(-1)[1]]]) context.lineTo(x, y);  // a dot is a line too
  context.stroke();
}

function down(pane, event) {
  event.preventDefault();
  pane.canvas.setPointerCapture(event.pointerId);
  pane.first = {x: event.clientX, y: event.clientY, centre: pane.centre, window: view.windows[view.channel]};
  if (event.button === 2) pane.drag = "window";
  else if (event.button === 1 || event.shiftKey) pane.drag = "pan";
  else {
    pane.drag = view.tool;
    const voxel = toVoxel(pane, toSlice(pane, event));
    if (voxel && ["box", "brush", "eraser"].includes(view.tool)) pane.drawn = [voxel];
    draw(pane);
  }
}

function move(pane, event) {
  const voxel = toVoxel(pane, toSlice(pane, event));
  under(pane, voxel);
  if (pane.drag === "pan") {
    const [down, right] = scales(pane), ratio = window.devicePixelRatio || 1;
    pane.centre = [pane.first.centre[0] - (event.clientY - pane.first.y) * ratio / down,
                   pane.first.centre[1] - (event.clientX - pane.first.x) * ratio / right];
    draw(pane);
  } else if (pane.drag === "window") {
    const [low, high] = pane.first.window, unit = (high - low) / 200;
    const width = Math.max(unit, high - low + (event.clientX - pane.first.x) * unit);
    setWindow((low + high) / 2 + (event.clientY - pane.first.y) * unit, width);
  } else if (voxel && pane.drawn.length && String(voxel) !== String(pane.drawn.at(-1))) {
    pane.drawn.push(voxel);
    draw(pane);
  }
}

function up(pane, event) {
  const drag = pane.drag, drawn = pane.drawn, voxel = toVoxel(pane, toSlice(pane, event));
  cancel(pane);
  const label = view.classes[view.chosen].name;
  if (drag === "brush" || drag === "eraser") {
    if (drawn.length) send({type: "paint", places: drawn, plane: pane.number, radius_mm: Number($("radius").value),
                            label: drag === "brush" ? label : null});
  } else if (drag === "box" && drawn.length) {
    const axis = pane.plane.axis, before = Math.floor((Number($("depth").value) - 1) / 2);
    const first = [...drawn[0]], last = [...drawn.at(-1)];
    first[axis] = Math.max(0, first[axis] - before);
    last[axis] = Math.min(view.info.shape[axis] - 1, first[axis] + Number($("depth").value) - 1);
    send({type: "box", first, last, label});
  } else if (voxel && ["look", "positive", "negative"].includes(drag)) {
    goTo(voxel);
    if (drag !== "look") send({type: "point", place: voxel, label, positive: drag === "positive"});
  }
}

function cancel(pane) {
  Object.assign(pane, {drag: null, drawn: []});
  draw(pane);
}

function wheel(pane, event) {
  event.preventDefault();
  if (event.ctrlKey) {  // what is under the pointer stays there
    const [row, column] = toSlice(pane, event), factor = event.deltaY < 0 ? ZOOM_STEP : 1 / ZOOM_STEP;
    const zoom = Math.max(0.2, Math.min(50, view.zoom * factor)), kept = view.zoom / zoom;
    view.zoom = zoom;
    pane.centre = [row + (pane.centre[0] - row) * kept, column + (pane.centre[1] - column) * kept];
    view.panes.forEach(draw);
  } else if (!pane.drag) {
    const place = [...view.place], axis = pane.plane.axis;
    place[axis] = Math.max(0, Math.min(view.info.shape[axis] - 1, place[axis] + Math.sign(event.deltaY)));
    goTo(place);
  }
}

const goTo = (place) => { view.place = place; loadSlices(); };

function under(pane, voxel) {
  view.over = voxel && view.panes.includes(pane) ? [pane, voxel] : null;
  if (!view.over) return void ($("under").value = "");
  voxel = voxel.with(pane.plane.axis, pane.index);  // it may have been scrolled since
  const [row, column] = ofVoxel(pane, voxel), at = row * pane.columns + column;
  const [low, high] = view.info.ranges[view.channel];
  const found = view.classes.find((each) => each.value === pane.mask[at]);
  const intensity = low + pane.image[at] / 65535 * (high - low);
  $("under").value = `voxel ${voxel.join(" ")}: ${+intensity.toPrecision(5)}, ${found ? found.name : "background"}`;
}

function setWindow(level, width) {
  if (!Number.isFinite(level) || !(width > 0)) return;
  view.windows[view.channel] = [level - width / 2, level + width / 2];
  view.panes.forEach((pane) => { paint(pane); draw(pane); });
  controls();
}

const useTool = (tool) => { view.tool = tool; controls(); };
const undo = () => send({type: "undo"}), redo = () => send({type: "redo"});
const finish = (finished) => send({type: "finish", finished});

function key(event) {
  if (["INPUT", "SELECT"].includes(event.target.tagName) && event.target.type !== "checkbox") return;
  const pressed = event.key.toLowerCase(), held = event.ctrlKey || event.metaKey;
  const keys = {u: undo, y: redo, d: () => finish(!$("finished").checked), "[": () => step(-1), "]": () => step(1)};
  for (const [name, tool] of Object.entries(TOOL_KEYS)) keys[name] = () => useTool(tool);
  for (let digit = 1; digit < 10; digit++) keys[digit] = () => choose(digit - 1);
  const chosen = event.altKey ? null : (held ? {z: event.shiftKey ? redo : undo, y: redo} : keys)[pressed];
  if (!chosen) return;
  event.preventDefault();
  chosen();
}

async function start() {
  document.addEventListener("keydown", key);
  for (const button of document.querySelectorAll("[data-tool]")) button.onclick = () => useTool(button.dataset.tool);
  const clicks = {undo, redo, previous: () => step(-1), next: () => step(1)};
  for (const [id, onclick] of Object.entries(clicks)) $(id).onclick = onclick;
  $("finished").onchange = () => finish($("finished").checked);
  $("window").onchange = $("level").onchange = () => setWindow(Number($("level").value), Number($("window").value));
  $("channel").onchange = () => { view.channel = Number($("channel").value); loadSlices(); controls(); };
  await loading(async () => {
    Object.assign(view, await json("/cases", {}));
    const wanted = decodeURIComponent(location.hash.slice(1));
    const first = view.cases.find((each) => each.name === wanted) || view.cases.find((each) => !each.finished);
    await open((first || view.cases[0]).name);
  });
  poll();
}

start();
