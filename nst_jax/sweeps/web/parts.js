// Make elements. Texts are never read as HTML.

const $ = (id) => document.getElementById(id);

function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in element) element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

function draw(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function fill(select, options) {
  select.replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
}

// A value as a short text.
function short(value) {
  if (value === null || value === undefined) return "none";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(4)));
  if (Array.isArray(value)) return value.map(short).join(", ") || "none";
  if (typeof value === "object") {
    return Object.entries(value).map(([key, one]) => `${key}: ${short(one)}`).join(", ") || "none";
  }
  return String(value);
}
