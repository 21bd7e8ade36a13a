// The sweep, and what is shown of it. What is shown stands in the address, after the "#".

const sweep = JSON.parse($("data").textContent);
const lanes = sweep.lanes;
lanes.forEach((lane, number) => { lane.number = number; });
const axes = sweep.axes.map((axis, index) => ({ ...axis, index }));
const wide = axes.filter((axis) => axis.values.length > 1);
const drawn = lanes.filter((lane) => lane.picture);
const ALL = "all";
const MODES = ["side", "slider", "blink"];

const valueOf = (lane, axis) => axis.values[lane.values[axis.index]];
const describe = (lane, some = wide) => some.map((axis) => `${axis.name} ${valueOf(lane, axis)}`).join(", ");
const titled = (lane) => [`Lane ${lane.number}`, describe(lane)].filter(Boolean).join(": ");

// In a product each choice of values is a lane: the last two axes are rows and columns.
const isGrid = sweep.how === "product" && wide.length > 1;

function state() {
  const given = new URLSearchParams(location.hash.slice(1));
  const axis = (key, usual) => {
    const name = given.get(key);
    return name === null ? usual : wide.find((one) => one.name === name);
  };
  const lane = (key) => drawn.find((one) => String(one.number) === given.get(key));
  const columns = axis("columns", isGrid ? wide.at(-1) : undefined);
  const rows = axis("rows", isGrid ? wide.at(-2) : undefined);
  const picks = wide.map((one) => {
    if (one === rows || one === columns) return ALL;
    const found = given.get(`pick.${one.name}`) ?? (isGrid ? "0" : ALL);
    return one.values[found] === undefined ? ALL : found;
  });
  const mode = MODES.find((one) => one === given.get("mode")) ?? "side";
  const open = lane("lane");
  const other = lane("with");
  return { rows, columns, picks, lane: open, other: other === open ? undefined : other, mode };
}

// Change what is shown: null takes a part of the address away.
function show(changes, { back = false } = {}) {
  const given = new URLSearchParams(location.hash.slice(1));
  given.delete("sweep");
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined) given.delete(key);
    else given.set(key, value);
  }
  // An empty address would scroll to the top.
  const hash = `#${given.toString() || "sweep"}`;
  if (back) location.hash = hash;
  else location.replace(hash);
}

function isPicked(lane, { picks }) {
  return wide.every((axis, i) => picks[i] === ALL || lane.values[axis.index] === Number(picks[i]));
}
