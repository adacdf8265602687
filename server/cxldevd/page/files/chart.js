// One chart in SVG: stacked areas or lines over time, with gaps, reference lines, marks, and values on hover.
// Every chart shows the moment that the pointer (or the arrow keys) is at in any of them.

import { clock } from "./units.js";

const SVG = "http://www.w3.org/2000/svg";
const PAD = { left: 62, right: 10, top: 8, bottom: 20 };
const HEIGHT = 190;
const TIME_STEPS_S = [5, 10, 15, 30, 60, 120, 300, 600];
const all = new Set();

function svg(name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

function html(name, className, text) {
  const node = document.createElement(name);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// Rounded up to a step that reads well: 1, 2, 2.5 or 5 times a power of the base.
function niceStep(top, steps, base) {
  const rough = top / steps;
  const power = base ** Math.floor(Math.log(rough) / Math.log(base));
  const factors = base === 1024 ? [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024] : [1, 2, 2.5, 5, 10];
  return power * factors.find((factor) => factor * power >= rough * 0.999);
}

export class Chart {
  // options: title, format (value -> text), axis (the same, shorter), base (10 or 1024), stacked, empty (text)
  constructor(options) {
    this.options = options;
    this.data = null;
    this.figure = html("figure", "chart");
    this.figure.append(html("h2", "", options.title));
    this.legend = html("figcaption", "legend");
    this.canvas = svg("svg", { role: "img", tabindex: "0", "aria-label": options.title });
    this.tip = html("div", "tip");
    this.tip.hidden = true;
    this.figure.append(this.legend, this.canvas, this.tip);
    this.canvas.addEventListener("pointermove", (event) => this.pointAt(event.offsetX));
    this.canvas.addEventListener("pointerleave", () => point(null));
    this.canvas.addEventListener("blur", () => point(null));
    this.canvas.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    all.add(this);
  }

  // data: times (ms, rising), from, to (ms), series [{name, colour, values (null: gap)}],
  // references [{name, value, top}], bands [{from, to}], marks [{time, kind, text}]
  update(data) {
    this.data = data;
    this.draw();
    this.showLegend();
    this.showCursor(Chart.moment);
  }

  get width() {
    return Math.max(200, this.canvas.clientWidth || 460);
  }

  x(time) {
    const { from, to } = this.data;
    return PAD.left + ((time - from) / (to - from || 1)) * (this.width - PAD.left - PAD.right);
  }

  y(value) {
    return HEIGHT - PAD.bottom - (value / this.top) * (HEIGHT - PAD.top - PAD.bottom);
  }

  draw() {
    if (!this.data) return;
    const { times, series, references = [], bands = [], marks = [] } = this.data;
    const layers = this.options.stacked ? stack(series) : series.map((one) => ({ low: null, high: one.values }));
    const peaks = layers.map(({ high }) => high.reduce((most, value) => Math.max(most, value ?? 0), 0));
    const nothing = Math.max(...peaks, 0) === 0;
    const highest = Math.max(...peaks, ...references.map((one) => one.value), 0);
    const step = niceStep(highest || 1, 4, this.options.base ?? 10);
    this.top = Math.max(step * Math.ceil((highest || 1) / step), step);
    this.canvas.setAttribute("viewBox", `0 0 ${this.width} ${HEIGHT}`);
    this.canvas.replaceChildren();
    if (highest) this.drawGrid(step);
    for (const band of bands) {
      const from = this.x(Math.max(band.from, this.data.from));
      this.add("rect", { class: "full", x: from, y: PAD.top, width: Math.max(1, this.x(band.to) - from),
        height: HEIGHT - PAD.top - PAD.bottom });
    }
    layers.forEach(({ low, high }, place) => {
      if (peaks[place]) this.drawLayer(times, low, high, series[place].colour);
    });
    for (const one of references) {
      this.add("line", { class: "reference", x1: PAD.left, x2: this.width - PAD.right, y1: this.y(one.value),
        y2: this.y(one.value) });
    }
    for (const mark of marks.filter((one) => one.time >= this.data.from && one.time <= this.data.to)) {
      const line = this.add("line", { class: `mark ${mark.kind}`, x1: this.x(mark.time), x2: this.x(mark.time),
        y1: PAD.top, y2: HEIGHT - PAD.bottom });
      line.append(svg("title", {}, mark.text));
    }
    if (nothing) this.add("text", { class: "empty", x: this.width / 2, y: HEIGHT / 2 }, this.options.empty);
    this.cursor = this.add("line", { class: "cursor", y1: PAD.top, y2: HEIGHT - PAD.bottom, visibility: "hidden" });
    this.canvas.dataset.samples = String(times.length);
    this.canvas.dataset.highest = String(highest);
  }

  drawGrid(step) {
    const { from, to } = this.data;
    for (let value = 0; value <= this.top * 1.001; value += step) {
      this.add("line", { class: "grid", x1: PAD.left, x2: this.width - PAD.right, y1: this.y(value), y2: this.y(value) });
      const text = (this.options.axis ?? this.options.format)(value);
      this.add("text", { x: PAD.left - 6, y: this.y(value) + 4, "text-anchor": "end" }, text);
    }
    const most = Math.max(2, Math.floor((this.width - PAD.left) / 90));
    const every = 1000 * (TIME_STEPS_S.find((one) => (to - from) / 1000 / one <= most) ?? 600);
    for (let time = Math.ceil(from / every) * every; time <= to; time += every) {
      if (this.x(time) > this.width - PAD.right - 15) break;
      this.add("text", { x: this.x(time), y: HEIGHT - 5, "text-anchor": "middle" }, clock(time, every < 60000));
    }
  }

  // One curve for each stretch without a gap; filled down to `low` where there is one.
  drawLayer(times, low, high, colour) {
    for (const [first, end] of stretches(high)) {
      const places = Array.from({ length: end - first }, (_, offset) => first + offset);
      const above = places.map((i) => `${this.x(times[i]).toFixed(1)},${this.y(high[i]).toFixed(1)}`);
      if (low) {
        const below = places.reverse().map((i) => `${this.x(times[i]).toFixed(1)},${this.y(low[i]).toFixed(1)}`);
        this.add("path", { d: `M${above.join("L")}L${below.join("L")}Z`, fill: `var(${colour})` });
      } else {
        this.add("path", { class: "curve", d: `M${above.join("L")}`, stroke: `var(${colour})` });
      }
    }
  }

  add(name, attributes, text) {
    const node = svg(name, attributes, text);
    this.canvas.append(node);
    return node;
  }

  // -- values ----------------------------------------------------------------------------------

  showLegend() {
    const { series, references = [] } = this.data;
    const newest = series.map(({ values }) => values.at(-1) ?? null);
    this.legend.replaceChildren(
      ...series.map((one, place) => this.entry(one.name, newest[place], `var(${one.colour})`)),
      ...references.map((one) => this.entry(one.name, one.value, null)));
    const told = series.map((one, place) => `${one.name} ${this.text(newest[place])}`).join(", ");
    this.canvas.setAttribute("aria-label", `${this.options.title}, over time. Now: ${told || this.options.empty}`);
  }

  entry(name, value, colour) {
    const entry = html("span");
    const key = html("i", colour ? "key" : "key line");
    if (colour) key.style.background = colour;
    entry.append(key, `${name} `, html("strong", "", this.text(value)));
    return entry;
  }

  text(value) {
    return value === null ? "–" : this.options.format(value);
  }

  pointAt(x) {
    if (!this.data?.times.length) return;
    const { from, to, times } = this.data;
    const wanted = from + ((x - PAD.left) / (this.width - PAD.left - PAD.right)) * (to - from);
    let best = times[0];
    for (const time of times) if (Math.abs(time - wanted) < Math.abs(best - wanted)) best = time;
    point(best);
  }

  step(event) {
    const times = this.data?.times ?? [];
    if (!times.length || !["ArrowLeft", "ArrowRight", "Escape"].includes(event.key)) return;
    event.preventDefault();
    const here = Chart.moment === null ? times.length : times.indexOf(Chart.moment);
    const next = here + (event.key === "ArrowLeft" ? -1 : 1);
    point(event.key === "Escape" ? null : times[Math.min(times.length - 1, Math.max(0, next))]);
  }

  showCursor(moment) {
    const place = moment === null || !this.data ? -1 : this.data.times.indexOf(moment);
    this.tip.hidden = place < 0;
    if (!this.cursor) return;
    this.cursor.setAttribute("visibility", place < 0 ? "hidden" : "visible");
    if (place < 0) return;
    const x = this.x(moment);
    this.cursor.setAttribute("x1", x);
    this.cursor.setAttribute("x2", x);
    const table = html("table");
    for (const one of this.data.series) {
      const row = html("tr");
      const key = html("i", "key");
      key.style.background = `var(${one.colour})`;
      const name = html("td");
      name.append(key, one.name);
      row.append(name, html("td", "", this.text(one.values[place])));
      table.append(row);
    }
    this.tip.replaceChildren(html("div", "quiet", clock(moment)), table);
    const beside = x > this.width / 2 ? x - this.tip.offsetWidth - 4 : x + 30;
    this.tip.style.left = `${Math.max(4, beside)}px`;
    this.tip.style.top = `${this.canvas.offsetTop + 8}px`;
  }
}

Chart.moment = null;

function point(moment) {
  Chart.moment = moment;
  for (const chart of all) chart.showCursor(moment);
}

// Each series upon the ones before it. A gap in one is a gap in all.
function stack(series) {
  const sums = (series[0]?.values ?? []).map(() => 0);
  return series.map(({ values }) => {
    const low = [...sums];
    const high = values.map((value, i) => (value === null ? null : (sums[i] += value)));
    return { low, high };
  });
}

function stretches(values) {
  const found = [];
  let first = -1;
  values.forEach((value, i) => {
    if (value !== null && first < 0) first = i;
    if (value === null && first >= 0) { found.push([first, i]); first = -1; }
  });
  if (first >= 0) found.push([first, values.length]);
  return found;
}
