// One or two pictures, moved and zoomed together.

const stage = $("stage");
const layers = [...stage.querySelectorAll(".layer")];
const MOST = 32;

// `scale` is CSS pixels for a pixel of the first picture, null for the whole picture; x and y are
// the point in the middle of the stage, as shares of the picture.
const view = { scale: null, x: 0.5, y: 0.5 };
let size = { width: 1, height: 1 };

function put(first, second, mode) {
  stage.dataset.mode = second ? mode : "one";
  size = first;
  [first, second].forEach((lane, i) => load(layers[i], lane, second));
  place();
}

// The preview first, then the file beside the page if it is there.
function load(layer, lane, tagged) {
  const picture = layer.querySelector("img");
  layer.hidden = !lane;
  if (!lane) return;
  const tag = layer.querySelector(".tag");
  tag.textContent = tagged ? titled(lane) : "";
  if (picture.dataset.lane === String(lane.number)) { tell(); return; }
  picture.dataset.lane = lane.number;
  picture.dataset.from = "preview";
  picture.src = lane.preview;
  picture.alt = titled(lane);
  const full = new Image();
  const current = () => picture.dataset.lane === String(lane.number);
  full.onload = () => { if (current()) { picture.src = full.src; picture.dataset.from = "file"; tell(); } };
  full.onerror = () => { if (current()) { picture.dataset.from = "lost"; tell(); } };
  full.src = encodeURIComponent(lane.picture);
  tell();

  function tell() {
    const lost = picture.dataset.from === "lost";
    const note = lost ? `Preview: ${lane.picture} is not beside this page.` : "";
    tag.textContent = [tagged ? titled(lane) : "", note].filter(Boolean).join(" — ");
    tag.hidden = !tag.textContent;
  }
}

function fitted() {
  const { clientWidth, clientHeight } = layers[0];
  return Math.min(clientWidth / size.width, clientHeight / size.height) || 1;
}

function place() {
  const scale = view.scale ?? fitted();
  for (const layer of layers) {
    const picture = layer.querySelector("img");
    const [width, height] = [size.width * scale, size.height * scale];
    picture.style.width = `${width}px`;
    picture.style.height = `${height}px`;
    const [left, top] = [layer.clientWidth / 2 - view.x * width, layer.clientHeight / 2 - view.y * height];
    picture.style.transform = `translate(${left}px, ${top}px)`;
    picture.style.imageRendering = view.scale !== null && scale * devicePixelRatio >= 2 ? "pixelated" : "auto";
  }
  $("zoom").textContent = `${Math.round(scale * devicePixelRatio * 100)} %`;
}

const clamped = (value, low, high) => Math.max(low, Math.min(high, value));

function pan(dx, dy) {
  const scale = view.scale ?? fitted();
  view.x = clamped(view.x - dx / (size.width * scale), 0, 1);
  view.y = clamped(view.y - dy / (size.height * scale), 0, 1);
  place();
}

// Zoom so that the point at (dx, dy) from the middle of a layer stays where it is.
function zoom(factor, dx = 0, dy = 0) {
  const before = view.scale ?? fitted();
  const after = clamped(before * factor, Math.min(fitted(), 1) / 2, MOST);
  const moved = 1 / before - 1 / after;
  view.x = clamped(view.x + (dx / size.width) * moved, 0, 1);
  view.y = clamped(view.y + (dy / size.height) * moved, 0, 1);
  view.scale = after;
  place();
}

function zoomTo(scale) {
  view.scale = scale;
  if (scale === null) [view.x, view.y] = [0.5, 0.5];
  place();
}

const atPixels = () => zoomTo(1 / devicePixelRatio);

// One pointer drags, two pinch, the wheel zooms, a double click goes to the pixels and back.
function listen() {
  const pointers = new Map();
  const fromMiddle = (event) => {
    const layer = event.target.closest(".layer") ?? layers[0];
    const box = layer.getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  };
  const distance = () => {
    const [a, b] = [...pointers.values()];
    return Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
  };
  stage.onpointerdown = (event) => {
    pointers.set(event.pointerId, event);
    stage.setPointerCapture(event.pointerId);
    stage.classList.add("dragged");
  };
  stage.onpointermove = (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return;
    const apart = pointers.size === 2 ? distance() : 0;
    pointers.set(event.pointerId, event);
    if (apart) zoom(distance() / apart);
    else pan(event.clientX - last.clientX, event.clientY - last.clientY);
  };
  stage.onpointerup = stage.onpointercancel = (event) => {
    pointers.delete(event.pointerId);
    stage.classList.toggle("dragged", pointers.size > 0);
  };
  stage.ondblclick = () => (view.scale === null ? atPixels() : zoomTo(null));
  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.002), ...fromMiddle(event));
  }, { passive: false });
  new ResizeObserver(place).observe(stage);
}
