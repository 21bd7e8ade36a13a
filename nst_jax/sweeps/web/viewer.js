// A lane by itself, large, or beside another; its settings and its command line.

const viewer = $("viewer");
const BLINK_MS = 800;
let blinker = null;

function showViewer(now) {
  if (!now.lane) {
    pause();
    if (viewer.open) viewer.close();
    return;
  }
  if (!viewer.open) {
    zoomTo(null);
    viewer.showModal();
    $("details").scrollTop = 0;
    stage.focus();
  }
  const { lane, other, mode } = now;
  $("viewer-title").textContent = titled(lane);
  $("with").value = other ? String(other.number) : "";
  for (const option of $("with").options) option.disabled = option.value === String(lane.number);
  $("modes").hidden = !other;
  for (const button of $("modes").children) button.setAttribute("aria-pressed", button.dataset.mode === mode);
  const [sliding, blinking] = [other && mode === "slider", other && mode === "blink"];
  $("split-label").hidden = $("divider").hidden = !sliding;
  $("blinking").hidden = !blinking;
  put(lane, other, mode);
  split();
  $("details").replaceChildren(...details(lane, other));
  if (!blinking) pause();
  else if (!blinker && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
  tellBlink();
}

// The second picture lies over the first: to the right of the divider, or by turns.
function split() {
  const { other, mode } = state();
  const over = layers[1].style;
  over.clipPath = other && mode === "slider" ? `inset(0 0 0 ${$("split").value}%)` : "";
  over.visibility = "";
  $("divider").style.left = `${$("split").value}%`;
}

function play() { blinker = setInterval(blink, BLINK_MS); }

function pause() {
  clearInterval(blinker);
  blinker = null;
  layers[1].style.visibility = "";
}

function blink() {
  const over = layers[1].style;
  over.visibility = over.visibility ? "" : "hidden";
}

function tellBlink() { $("blinking").textContent = blinker ? "Hold" : "Change over"; }

// While it blinks, hold the picture; afterwards change over by hand.
function changeOver() {
  if (blinker) {
    clearInterval(blinker);
    blinker = null;
  } else blink();
  tellBlink();
}

function step(way) {
  const { lane } = state();
  const next = drawn[(drawn.indexOf(lane) + way + drawn.length) % drawn.length];
  show({ lane: next.number });
}

function tableOf(shown, rows) {
  const head = shown.length > 1
    ? [make("thead", {}, make("tr", {}, make("td"), ...shown.map(({ number }) => make("th", { scope: "col" }, `Lane ${number}`))))]
    : [];
  const lines = rows.map(([name, value]) => {
    const texts = shown.map(value);
    const className = new Set(texts).size > 1 ? "unlike" : "";
    return make("tr", { className }, make("th", { scope: "row" }, name), ...texts.map((text) => make("td", {}, text)));
  });
  return make("table", {}, ...head, make("tbody", {}, ...lines));
}

function details(lane, other) {
  const shown = other ? [lane, other] : [lane];
  // The first columns of the table are the axes.
  const measures = Object.keys(lane.row).slice(axes.length).filter((key) => shown.some(({ row }) => row[key] !== null));
  const rows = [
    ...axes.map((axis) => [axis.name, (one) => valueOf(one, axis)]),
    ...measures.map((key) => [key.replace("_unweighted", ", unweighted"), ({ row }) => short(row[key])]),
    ["pixels", ({ width, height }) => `${width} x ${height}`],
  ];
  const all = (one) => ({ ...sweep.settings, ...one.settings, network: one.network });
  const options = Object.keys(all(lane)).map((key) => [key, (one) => short(all(one)[key])]);
  return [
    make("h3", {}, "Result"), tableOf(shown, rows),
    ...shown.flatMap((one) => commandOf(one, shown.length > 1)),
    make("h3", {}, "Files"), tableOf(shown, [
      ...Object.keys(lane.sources).map((key) => [key, ({ sources }) => short(sources[key])]),
    ]),
    ...shown.map((one) => make("p", {}, make("a", { href: encodeURIComponent(one.picture), target: "_blank", rel: "noopener" }, one.picture))),
    make("details", {}, make("summary", {}, "All settings"), tableOf(shown, options)),
  ];
}

function commandOf(lane, several) {
  // Lines break between words alone, not at dashes.
  const words = lane.command.split(" ").flatMap((word, i) => [i ? " " : "", make("span", {}, word)]);
  const line = make("pre", { tabIndex: 0 }, ...words);
  const button = make("button", { onclick: () => copy(lane.command, line, button) }, "Copy");
  const lost = lane.missing.length
    ? [make("p", { className: "quiet" }, `The command cannot say: ${lane.missing.join(", ")}. They came from Python, without a file name.`)]
    : [];
  return [make("h3", {}, several ? `Command, lane ${lane.number}` : "Command"), line, button, ...lost];
}

async function copy(text, line, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Pages without https may not write to the clipboard, but may copy what is selected.
    getSelection().selectAllChildren(line);
    done = document.execCommand("copy");
  }
  button.textContent = done ? "Copied" : "Selected: press Ctrl+C";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

const PAN = 60;
const KEYS = {
  "ArrowLeft": () => step(-1),
  "ArrowRight": () => step(1),
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
  "0": () => zoomTo(null),
  "1": atPixels,
  "c": () => $("with").focus(),
  "m": () => { if (state().other) show({ mode: MODES[(MODES.indexOf(state().mode) + 1) % MODES.length] }); },
  " ": () => { if (!$("blinking").hidden) changeOver(); },
};
const PANS = { ArrowLeft: [PAN, 0], ArrowRight: [-PAN, 0], ArrowUp: [0, PAN], ArrowDown: [0, -PAN] };

function makeViewer() {
  fill($("with"), [["", "no other"], ...drawn.map((lane) => [lane.number, titled(lane)])]);
  $("with").onchange = () => show({ with: $("with").value || null });
  for (const button of $("modes").children) button.onclick = () => show({ mode: button.dataset.mode });
  $("previous").onclick = () => step(-1);
  $("next").onclick = () => step(1);
  $("previous").disabled = $("next").disabled = drawn.length < 2;
  $("smaller").onclick = () => zoom(0.8);
  $("larger").onclick = () => zoom(1.25);
  $("fit").onclick = () => zoomTo(null);
  $("pixels").onclick = atPixels;
  $("split").oninput = split;
  $("blinking").onclick = changeOver;
  const shut = () => show({ lane: null, with: null, mode: null });
  $("close").onclick = shut;
  viewer.oncancel = (event) => { event.preventDefault(); shut(); };
  viewer.onkeydown = (event) => {
    if (event.target.matches("select, input, pre") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && event.target.matches("button, summary, a")) return;
    const way = PANS[event.key];
    const moves = way && (event.shiftKey || !KEYS[event.key]);
    const action = moves ? () => pan(...way) : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };
  listen();
}
