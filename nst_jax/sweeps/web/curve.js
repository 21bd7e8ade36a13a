// The trade-off curve: content loss against style loss on log axes; its points are the pictures.

const MARGIN = { left: 62, right: 24, top: 16, bottom: 46 };
const THUMB = 48;

let drawnAs = "";

const measured = drawn.filter(({ row }) => row.content_unweighted > 0 && row.style_unweighted > 0);
const still = axes.filter((axis) => !axis.name.endsWith("_weight") && axis.values.length > 1);

// A log scale from data to the page, with round numbers for ticks.
function logScale(values, from, to) {
  const logs = values.map(Math.log10);
  let [low, high] = [Math.min(...logs), Math.max(...logs)];
  const room = Math.max((high - low) * 0.08, 0.05);
  [low, high] = [low - room, high + room];
  const at = (value) => from + ((Math.log10(value) - low) / (high - low)) * (to - from);
  const found = [];
  for (const steps of [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9], Array.from({ length: 90 }, (_, i) => (i + 10) / 10)]) {
    found.length = 0;
    for (let power = Math.floor(low); power <= high; power += 1) {
      for (const step of steps) {
        const value = step * 10 ** power;
        if (Math.log10(value) >= low && Math.log10(value) <= high) found.push(value);
      }
    }
    if (found.length > 2) break;
  }
  const most = Math.max(2, Math.floor(Math.abs(to - from) / 60));
  const every = Math.ceil(found.length / most);
  return { at, ticks: found.filter((_, i) => i % every === 0) };
}

function tickText(value) {
  const short = Number(value.toPrecision(3));
  return value >= 0.01 && value < 1e5 ? String(short) : short.toExponential().replace("e+", "e");
}

function groupsOf() {
  const found = new Map();
  for (const lane of measured) {
    const name = describe(lane, still);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(lane);
  }
  for (const group of found.values()) group.sort((a, b) => a.row.content_unweighted - b.row.content_unweighted);
  return [...found];
}

function showCurve(now) {
  $("curve-section").hidden = !measured.length;
  if (!measured.length) return;
  const width = Math.min($("curve").clientWidth || 640, 960);
  const kind = $("as-pictures").checked ? "pictures" : "dots";
  // Points that stay keep the focus.
  const wanted = JSON.stringify([width, kind, now.picks]);
  if (wanted === drawnAs) return;
  drawnAs = wanted;
  const height = Math.max(280, Math.min(width * 0.6, 480));
  const x = logScale(measured.map(({ row }) => row.content_unweighted), MARGIN.left, width - MARGIN.right);
  const y = logScale(measured.map(({ row }) => row.style_unweighted), height - MARGIN.bottom, MARGIN.top);
  const floor = height - MARGIN.bottom;
  const parts = [];
  for (const value of x.ticks) {
    parts.push(draw("path", { class: "rule", d: `M${x.at(value)} ${MARGIN.top}V${floor}` }));
    parts.push(draw("text", { x: x.at(value), y: floor + 16, "text-anchor": "middle" }, tickText(value)));
  }
  for (const value of y.ticks) {
    parts.push(draw("path", { class: "rule", d: `M${MARGIN.left} ${y.at(value)}H${width - MARGIN.right}` }));
    parts.push(draw("text", { x: MARGIN.left - 6, y: y.at(value) + 4, "text-anchor": "end" }, tickText(value)));
  }
  parts.push(draw("path", { class: "axis", d: `M${MARGIN.left} ${MARGIN.top}V${floor}H${width - MARGIN.right}` }));
  parts.push(draw("text", { x: (MARGIN.left + width - MARGIN.right) / 2, y: height - 6, "text-anchor": "middle" }, "content loss"));
  parts.push(draw("text", { transform: `translate(14 ${(MARGIN.top + floor) / 2}) rotate(-90)`, "text-anchor": "middle" }, "style loss"));
  const groups = groupsOf();
  const points = [];
  groups.forEach(([, group], i) => {
    const style = `--hue: ${hueOf(i)}`;
    const corners = group.map(({ row }) => `${x.at(row.content_unweighted)} ${y.at(row.style_unweighted)}`);
    parts.push(draw("path", { class: "path", style, d: `M${corners.join("L")}` }));
    for (const lane of group) points.push(pointOf(lane, style, x, y, now));
  });
  $("curve").replaceChildren(draw("svg", {
    viewBox: `0 0 ${width} ${height}`, class: kind, role: "group", "aria-label": "Content loss against style loss, a point for each lane",
  }, ...parts, ...points));
  const named = groups.filter(([name]) => name);
  $("legend").replaceChildren(...named.map(([name], i) => {
    const item = make("li", {}, name);
    item.style.setProperty("--hue", hueOf(i));
    return item;
  }));
  const without = drawn.length - measured.length;
  $("curve-note").textContent = without
    ? `${without} ${without === 1 ? "lane has" : "lanes have"} no content loss or no style loss, and no point here.` : "";
}

// Hues far from each other.
const hueOf = (i) => Math.round((212 + i * 137.5) % 360);

function pointOf(lane, style, x, y, now) {
  const [u, v] = [x.at(lane.row.content_unweighted), y.at(lane.row.style_unweighted)];
  const share = THUMB / Math.max(lane.width, lane.height);
  const [w, h] = [lane.width * share, lane.height * share];
  const box = { x: u - w / 2, y: v - h / 2, width: w, height: h };
  const losses = `content loss ${short(lane.row.content_unweighted)}, style loss ${short(lane.row.style_unweighted)}`;
  const point = draw("g", {
    class: isPicked(lane, now) ? "point" : "point pale", style, tabindex: 0, role: "button", "data-lane": lane.number,
    "aria-label": `${titled(lane)}: ${losses}`,
  }, draw("circle", { cx: u, cy: v, r: 7 }), draw("image", { ...box, href: lane.preview }), draw("rect", { ...box, class: "frame" }));
  const open = () => { hover(null); show({ lane: lane.number }, { back: true }); };
  point.onclick = open;
  point.onkeydown = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    open();
  };
  point.onpointerenter = () => hover(point, lane, losses);
  point.onfocus = () => { if (point.matches(":focus-visible")) hover(point, lane, losses); };
  point.onpointerleave = () => hover(null);
  point.onblur = () => hover(null);
  return point;
}

// The picture of a point beside it, within the window.
function hover(point, lane, losses) {
  const figure = $("hover");
  figure.hidden = !point;
  if (!point) return;
  $("hover-picture").src = lane.preview;
  $("hover-text").textContent = `${titled(lane)} (${losses})`;
  const box = point.getBoundingClientRect();
  const { offsetWidth, offsetHeight } = figure;
  const left = box.right + offsetWidth + 12 < innerWidth ? box.right + 8 : box.left - offsetWidth - 8;
  figure.style.left = `${Math.max(4, Math.min(left, innerWidth - offsetWidth - 4))}px`;
  figure.style.top = `${Math.max(4, Math.min(box.top - offsetHeight / 2, innerHeight - offsetHeight - 4))}px`;
}
