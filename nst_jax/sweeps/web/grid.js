// The grid of pictures: any axis as rows, any as columns, the others to choose from.

let marked = null;
let laidOut = "";

const cards = lanes.map((lane) => {
  const caption = make("figcaption");
  const card = make("figure", { className: "card" }, pictureOf(lane), caption);
  return { lane, card, caption };
});

function pictureOf(lane) {
  if (!lane.picture) {
    const { width, height } = drawn[0];
    const blank = make("div", { className: "blank" }, "missing");
    blank.style.aspectRatio = `${width} / ${height}`;
    return blank;
  }
  const picture = make("img", {
    src: lane.preview, alt: titled(lane), className: lane.width < lane.height ? "tall" : "wide",
  });
  picture.style.aspectRatio = `${lane.width} / ${lane.height}`;
  const open = () => show({ lane: lane.number }, { back: true });
  return make("button", { className: "open", title: titled(lane), onclick: open }, picture);
}

function captionOf(lane, told) {
  const rest = describe(lane, wide.filter((axis) => !told.includes(axis)));
  const parts = [make("span", {}, rest)];
  if (!lane.picture) parts.push(make("span", { className: "badge" }, `lane ${lane.number} missing`));
  else {
    if (lane.row.status !== "finished") parts.push(make("span", { className: "badge" }, lane.row.status));
    if (drawn.length < 2) return parts;
    const mark = () => compare(lane);
    const name = `Compare ${titled(lane)}`;
    parts.push(make("button", { className: "compare", onclick: mark, "aria-label": name }, "compare"));
  }
  return parts;
}

// The first lane is marked; the second is opened beside it.
function compare(lane) {
  if (marked && marked !== lane) {
    show({ lane: marked.number, with: lane.number }, { back: true });
    marked = null;
  } else marked = marked ? null : lane;
  tellMarked();
}

function tellMarked() {
  for (const { lane, card } of cards) {
    card.classList.toggle("marked", lane === marked);
    card.querySelector(".compare")?.setAttribute("aria-pressed", lane === marked);
  }
  const missing = lanes.length - drawn.length;
  const lost = missing ? ` ${missing} of ${lanes.length} lanes ${missing === 1 ? "is" : "are"} missing: the same sweep with resume draws them.` : "";
  $("hint").textContent = marked
    ? `${titled(marked)} is marked. Compare it with another lane, or press Escape.`
    : `Click on a picture to see it large.${drawn.length > 1 ? " Arrow keys move; C compares." : ""}${lost}`;
}

function makeControls() {
  for (const which of ["rows", "columns"]) {
    const other = which === "rows" ? "columns" : "rows";
    fill($(which), [["", "none"], ...wide.map(({ name }) => [name, name])]);
    $(which).onchange = () => {
      const now = state();
      const changes = { [which]: $(which).value };
      // The same axis cannot be both: change places.
      if (now[other] && now[other].name === $(which).value) changes[other] = now[which]?.name ?? "";
      show(changes);
    };
  }
  $("picks").replaceChildren(...wide.map((axis) => {
    const select = make("select");
    fill(select, [[ALL, "all"], ...axis.values.map((value, i) => [String(i), value])]);
    select.onchange = () => show({ [`pick.${axis.name}`]: select.value });
    return make("label", {}, `${axis.name} `, select);
  }));
  for (const name of ["rows", "columns", "picks"]) {
    const part = $(name).closest("label") ?? $(name);
    part.hidden = !wide.length;
  }
  const resize = () => $("grid").style.setProperty("--side", `${$("side").value}px`);
  if (innerWidth < 600) $("side").value = 112;
  $("side").oninput = resize;
  resize();
  $("grid").onkeydown = moveFocus;
}

function showGrid(now) {
  $("rows").value = now.rows?.name ?? "";
  $("columns").value = now.columns?.name ?? "";
  wide.forEach((axis, i) => {
    const label = $("picks").children[i];
    label.hidden = axis === now.rows || axis === now.columns;
    label.querySelector("select").value = now.picks[i];
  });
  const wanted = JSON.stringify([now.rows?.name, now.columns?.name, now.picks]);
  if (wanted === laidOut) return;
  laidOut = wanted;
  const picked = cards.filter(({ lane }) => isPicked(lane, now));
  const told = wide.filter((axis, i) => axis === now.rows || axis === now.columns || now.picks[i] !== ALL);
  for (const { lane, caption } of picked) caption.replaceChildren(...captionOf(lane, told));
  const cell = (found) => make("div", { className: "cell" }, ...found.map(({ card }) => card));
  const { rows, columns } = now;
  if (!rows && !columns) $("grid").replaceChildren(cell(picked));
  else {
    const at = (axis, i) => ({ lane }) => !axis || lane.values[axis.index] === i;
    const places = (axis) => (axis ? [...axis.values.keys()] : [0]);
    const heading = (axis, i, scope) => make("th", { scope }, make("span", {}, axis.name), axis.values[i]);
    const heads = columns
      ? [make("thead", {}, make("tr", {}, ...(rows ? [make("td")] : []),
        ...places(columns).map((j) => heading(columns, j, "col"))))]
      : [];
    const body = make("tbody", {}, ...places(rows).map((i) => {
      const head = rows ? [heading(rows, i, "row")] : [];
      const found = picked.filter(at(rows, i));
      return make("tr", {}, ...head, ...places(columns).map((j) => make("td", {}, cell(found.filter(at(columns, j))))));
    }));
    $("grid").replaceChildren(make("table", {}, ...heads, body));
  }
  tellMarked();
}

// Arrow keys go to the nearest picture in their direction; C marks a lane.
function moveFocus(event) {
  const here = event.target.closest(".open");
  if (event.key === "Escape" && marked) compare(marked);
  if (!here) return;
  if (event.key === "c") compare(cards.find(({ card }) => card.contains(here)).lane);
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!way) return;
  event.preventDefault();
  const middle = (element) => {
    const box = element.getBoundingClientRect();
    return [box.left + box.width / 2, box.top + box.height / 2];
  };
  const [x, y] = middle(here);
  const far = (element) => {
    const [u, v] = middle(element);
    const along = (u - x) * way[0] + (v - y) * way[1];
    const across = Math.abs((u - x) * way[1]) + Math.abs((v - y) * way[0]);
    return along > 1 ? along + 3 * across : Infinity;
  };
  const others = [...$("grid").querySelectorAll(".open")].sort((a, b) => far(a) - far(b));
  if (far(others[0]) < Infinity) others[0].focus();
}
