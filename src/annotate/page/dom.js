// Makes elements. Text goes in as text: names come from files.

const SVG = "http://www.w3.org/2000/svg";

/** An element; `on` holds listeners, `test` its name for tests, other keys are attributes. */
export function el(tag, { on = {}, test, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  if (test) element.dataset.test = test;
  for (const [name, value] of Object.entries(attributes)) setAttribute(element, name, value);
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets an attribute; `false` and `null` remove it, except for aria-…, which are written out. */
export function setAttribute(element, name, value) {
  const isAria = name.startsWith("aria-") && typeof value === "boolean";
  const text = isAria ? String(value) : value === true ? "" : value;
  if (text === null || text === undefined || text === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(text)) element.setAttribute(name, text);
}

/** A drawing of index.html's sheet. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export const byTest = (name) => document.querySelector(`[data-test="${name}"]`);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function show(element, isShown) {
  if (element.hidden === isShown) element.hidden = !isShown;
}

/** Makes the children of `parent` those of `items`, and keeps the elements of items that stay. */
export function keyed(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  items.forEach((item, place) => {
    const name = String(key(item));
    let child = known.get(name);
    known.delete(name);
    if (!child) {
      child = create(item);
      child.dataset.key = name;
    }
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
    update?.(child, item, place);
  });
  for (const child of known.values()) child.remove();
}

export function button({ label, symbol, text, test, run, title, ...rest }) {
  const attributes = { type: "button", "aria-label": text ? null : label, title: title ?? label, test, ...rest };
  return el("button", { ...attributes, on: run ? { click: run } : {} }, symbol ? icon(symbol) : null, text ?? null);
}
