// Put the page together, and keep it as the address says.

function tellSweep() {
  const count = `${lanes.length} ${lanes.length === 1 ? "lane" : "lanes"}`;
  $("title").textContent = document.title = `Sweep: ${count}`;
  const listed = (values) => (values.length < 9 ? values.join(", ") : `${values[0]} … ${values.at(-1)} (${values.length} values)`);
  $("about").textContent = axes.map(({ name, values }) => `${name}: ${listed(values)}`).join(" · ");
  $("footer").textContent = `Made by nst_jax ${sweep.version}.`;
}

function showAll() {
  const now = state();
  showGrid(now);
  showCurve(now);
  showViewer(now);
}

tellSweep();
makeControls();
makeViewer();
$("as-pictures").onchange = showAll;
addEventListener("hashchange", showAll);
new ResizeObserver(() => showCurve(state())).observe($("curve"));
showAll();
