// Trend charts: a line with its gaps, limits and the patient's own baseline. Drawn as SVG, read by pointer or keyboard.

import { el, setAttribute, setText, svg } from "./elements.js";
import { PRIORITY_MARKS, PRIORITY_WORDS, clockTime, minuteTime, quality } from "./format.js";
import { t as words } from "./words.js";

const MARGIN = { top: 12, right: 14, bottom: 24, left: 44 };
const HEIGHT = 168;
const HALF_A_TIME = 19;
const TIME_STEPS_S = [60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];

/** Round numbers between `low` and `high`, about `count` of them. */
export function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step / 1e6; value += step) found.push(Number(value.toFixed(6)));
  return found;
}

/** Cuts points into runs: a new one begins where more than `gapS` lies between two points. */
export function runs(points, gapS) {
  const found = [];
  for (const point of points) {
    const last = found.at(-1);
    if (last && point.t - last.at(-1).t <= gapS) last.push(point);
    else found.push([point]);
  }
  return found;
}

/**
 * A chart of one or two series. `options`: { title, unit, digits, series: [{ name, points, class }], gapS, dots,
 * limits: [{ value, text }], baseline: { low, high } | null, onsets: [{ t, priority }], least (smallest span of the value
 * axis), bounds }. A point is { t, value, low, high, quality, received }. An onset before the time shown stands at its edge.
 */
export class Chart {
  constructor(host) {
    this.host = host;
    this.drawing = svg("svg", { class: "chart", height: HEIGHT, tabindex: "0", role: "slider", "aria-valuemin": "0", "aria-valuenow": "0", "aria-valuemax": "0" });
    this.readout = el("p", { class: "readout" });
    this.host.append(this.drawing, this.readout);
    this.drawing.addEventListener("pointermove", (event) => this.point(event));
    this.drawing.addEventListener("pointerleave", () => this.choose(null));
    this.drawing.addEventListener("blur", () => this.choose(null));
    this.drawing.addEventListener("keydown", (event) => this.key(event));
    this.chosen = null;
    new ResizeObserver(() => this.draw()).observe(host);
  }

  show(options, from, to) {
    Object.assign(this, { options, from, to });
    this.draw();
  }

  draw() {
    const width = Math.floor(this.host.clientWidth);
    if (!this.options || width < 80) return;
    const { series, gapS, limits, baseline, onsets, least, bounds, title, unit, dots } = this.options;
    const visible = series.map((one) => ({ ...one, points: one.points.filter((point) => point.t >= this.from && point.t <= this.to) }));
    this.visible = visible;
    const all = visible.flatMap((one) => one.points);
    const lows = all.map((point) => point.low);
    const highs = all.map((point) => point.high);
    if (baseline && all.length) lows.push(baseline.low), highs.push(baseline.high);
    let low = lows.length ? Math.min(...lows) : 0;
    let high = highs.length ? Math.max(...highs) : least;
    const near = limits.filter((limit) => limit.value >= low - least && limit.value <= high + least);
    low = Math.min(low, ...near.map((limit) => limit.value));
    high = Math.max(high, ...near.map((limit) => limit.value));
    const missing = least - (high - low);
    if (missing > 0) (low -= missing / 2), (high += missing / 2);
    const padding = (high - low) * 0.06;
    low = Math.max(bounds[0], low - padding);
    high = Math.min(bounds[1], high + padding);
    const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
    this.x = (t) => MARGIN.left + ((t - this.from) / (this.to - this.from)) * inner.width;
    this.y = (value) => MARGIN.top + (1 - (value - low) / (high - low)) * inner.height;
    const right = width - MARGIN.right;
    const bottom = HEIGHT - MARGIN.bottom;
    const parts = [];
    for (const value of ticks(low, high, 4)) {
      parts.push(svg("line", { class: "grid", x1: MARGIN.left, x2: right, y1: this.y(value), y2: this.y(value) }));
      parts.push(svg("text", { class: "axis", x: MARGIN.left - 8, y: this.y(value) + 4, "text-anchor": "end" }, String(value)));
    }
    const step = TIME_STEPS_S.find((candidate) => (this.to - this.from) / candidate <= Math.max(2, inner.width / 84)) ?? 14400;
    for (let t = Math.ceil(this.from / step) * step; t <= this.to; t += step) {
      parts.push(svg("line", { class: "tick", x1: this.x(t), x2: this.x(t), y1: bottom, y2: bottom + 4 }));
      parts.push(svg("text", { class: "axis", x: this.x(t), y: HEIGHT - 6, "text-anchor": this.x(t) + HALF_A_TIME > width ? "end" : "middle" }, minuteTime(t)));
    }
    parts.push(svg("line", { class: "axis-line", x1: MARGIN.left, x2: right, y1: bottom, y2: bottom }));
    if (baseline && all.length) {
      const top = this.y(Math.min(high, baseline.high));
      parts.push(svg("rect", { class: "baseline", x: MARGIN.left, y: top, width: inner.width, height: Math.max(1, this.y(Math.max(low, baseline.low)) - top) }));
    }
    for (const limit of near) {
      parts.push(svg("line", { class: "limit", x1: MARGIN.left, x2: right, y1: this.y(limit.value), y2: this.y(limit.value) }));
      parts.push(svg("text", { class: "limit-text", x: MARGIN.left + 4, y: this.y(limit.value) - 4 }, limit.text));
    }
    for (const one of visible) parts.push(...this.series(one, gapS, dots));
    if (visible.length === 2) parts.unshift(...this.pairs(visible));
    if (!all.length) parts.push(svg("text", { class: "axis", x: MARGIN.left + inner.width / 2, y: MARGIN.top + inner.height / 2, "text-anchor": "middle" }, words("No value in this time")));
    parts.push(...onsets.flatMap((onset, i) => this.onset(onset, i, right, bottom)));
    this.cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: bottom, visibility: "hidden" });
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.drawing.setAttribute("width", width);
    this.drawing.replaceChildren(...parts, this.cursor);
    setAttribute(this.drawing, "aria-label", [
      words("{title}, {from} to {to}", { title: `${title} ${unit}`.trim(), from: minuteTime(this.from), to: minuteTime(this.to) }),
      ...onsets.map((onset) => words("onset of {priority} priority alert at {time}", { priority: PRIORITY_WORDS[onset.priority], time: clockTime(onset.t) })),
    ].join("; "));
    this.choose(this.chosen);
  }

  /** Where an alert that stands began: a line, and a flag with its mark and time. */
  onset({ t, priority }, place, right, bottom) {
    const before = t < this.from;
    const x = Math.min(right, Math.max(MARGIN.left, this.x(t)));
    const text = `${before ? "◂ " : ""}${PRIORITY_MARKS[priority]} ${minuteTime(t)}`;
    const width = 8 + 7 * text.length;
    const left = Math.min(right - width, x);
    const top = place * 17;
    return [
      svg("line", { class: `onset onset-${priority}${before ? " before" : ""}`, x1: x, x2: x, y1: top, y2: bottom, "data-onset-t": t }),
      svg("rect", { class: `onset-flag onset-${priority}`, x: left, y: top, width, height: 16, rx: 3 }),
      svg("text", { class: `onset-text onset-${priority}`, x: left + width / 2, y: top + 12, "text-anchor": "middle" }, text),
    ];
  }

  series(one, gapS, dots) {
    const found = [];
    for (const run of runs(one.points, gapS)) {
      const spread = run.some((point) => point.high > point.low);
      if (spread) {
        const edge = [...run.map((p) => [p.t, p.high]), ...[...run].reverse().map((p) => [p.t, p.low])];
        found.push(svg("path", { class: `spread ${one.class}`, d: `${this.path(edge)}Z` }));
      }
      if (run.length > 1) found.push(svg("path", { class: `line ${one.class}`, d: this.path(run.map((p) => [p.t, p.value])) }));
      const shown = dots ? run : run.length === 1 ? run : [];
      for (const point of shown) found.push(svg("circle", { class: `dot ${one.class}`, cx: this.x(point.t), cy: this.y(point.value), r: 3 }));
      for (const point of run) {
        if (point.quality < 0.5) found.push(svg("circle", { class: "poor", cx: this.x(point.t), cy: this.y(point.value), r: 2.5 }));
      }
    }
    return found;
  }

  pairs([upper, lower]) {
    const other = new Map(lower.points.map((point) => [point.t, point.value]));
    return upper.points
      .filter((point) => other.has(point.t))
      .map((point) => svg("line", { class: "pair", x1: this.x(point.t), x2: this.x(point.t), y1: this.y(point.value), y2: this.y(other.get(point.t)) }));
  }

  path(points) {
    return points.map(([t, value], i) => `${i ? "L" : "M"}${this.x(t).toFixed(1)} ${this.y(value).toFixed(1)}`).join("");
  }

  point(event) {
    const box = this.drawing.getBoundingClientRect();
    const t = this.from + ((event.clientX - box.left - MARGIN.left) / (box.width - MARGIN.left - MARGIN.right)) * (this.to - this.from);
    const points = this.visible?.[0]?.points ?? [];
    if (!points.length) return;
    this.choose(points.reduce((a, b) => (Math.abs(a.t - t) <= Math.abs(b.t - t) ? a : b)).t);
  }

  key(event) {
    const points = this.visible?.[0]?.points ?? [];
    if (!points.length) return;
    const at = this.chosen === null ? points.length : points.findIndex((point) => point.t === this.chosen);
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: points.length - 1, PageUp: at - 10, PageDown: at + 10 };
    if (!(event.key in moves)) return;
    event.preventDefault();
    this.choose(points[Math.min(points.length - 1, Math.max(0, moves[event.key]))].t);
  }

  choose(t) {
    const points = this.visible?.[0]?.points ?? [];
    const at = points.findIndex((point) => point.t === t);
    this.chosen = at >= 0 ? t : null;
    const { unit, digits, series } = this.options ?? {};
    setAttribute(this.drawing, "aria-valuemax", Math.max(0, points.length - 1));
    setAttribute(this.drawing, "aria-valuenow", Math.max(0, at >= 0 ? at : points.length - 1));
    const point = points[at >= 0 ? at : points.length - 1];
    if (!point) {
      setText(this.readout, "");
      setAttribute(this.drawing, "aria-valuetext", words("No value in this time"));
      return;
    }
    const values = this.visible.map((one) => one.points.find((other) => other.t === point.t)?.value).filter((value) => value !== undefined);
    const spread = point.high > point.low && series.length === 1 ? ` ${words("({low} to {high})", { low: point.low.toFixed(digits), high: point.high.toFixed(digits) })}` : "";
    const shown = `${values.map((value) => value.toFixed(digits)).join("/")}${spread}${unit ? ` ${unit}` : ""}`;
    const text = words("{value} · measured {measured} · received {received} · {quality}", { value: shown, measured: clockTime(point.t), received: clockTime(point.received), quality: quality(point.quality).word });
    setAttribute(this.drawing, "aria-valuetext", text);
    setText(this.readout, at >= 0 ? text : "");
    if (at >= 0) {
      const x = this.x(point.t);
      for (const name of ["x1", "x2"]) this.cursor.setAttribute(name, x);
    }
    this.cursor.setAttribute("visibility", at >= 0 ? "visible" : "hidden");
  }
}
