// Small helpers to build and patch the page. Text is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. Attributes that are false, null or undefined are left out; strings become text. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, String(value));
  }
}

/** Replaces the children only where `key` changed since the last call. The focus stays: on the same control, or on another
 * one of the same thing, by `data-focus` ("thing control"). */
export function renderIfChanged(element, key, children) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  const focused = element.contains(document.activeElement) ? document.activeElement.dataset.focus : undefined;
  element.replaceChildren(...children());
  if (focused === undefined) return;
  const controls = [...element.querySelectorAll("[data-focus]")];
  const thing = focused.split(" ")[0];
  const next = controls.find((one) => one.dataset.focus === focused) ?? controls.find((one) => one.dataset.focus.startsWith(`${thing} `));
  next?.focus({ preventScroll: true });
}

/** Three bars that show signal quality; the words stand beside them or for screen readers. */
export function qualityBars(bars) {
  const rects = [0, 1, 2].map((i) =>
    svg("rect", { x: 1 + i * 4, y: 8 - i * 3, width: 3, height: 3 + i * 3, rx: 0.5, class: i < bars ? "on" : "off" }),
  );
  return svg("svg", { viewBox: "0 0 13 12", class: "quality-bars", "aria-hidden": "true", width: 13, height: 12 }, rects);
}

export function priorityMark(priority, marks) {
  return el("span", { class: `mark mark-${priority}`, "aria-hidden": "true" }, marks[priority] ?? "");
}
