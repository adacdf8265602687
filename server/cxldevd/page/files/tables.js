// The lists below the charts: hosts, armed faults, events. Empty ones say so.

import { bytes, clock, count, ratio, seconds, word } from "./units.js";

const PLAIN = new Set(["sequence", "generation", "wall_time_ns", "telemetry"]);
const WARNINGS = new Set(["no_more_writes_entered", "poison_found", "device_reset"]);

function fill(id, rows, empty) {
  const table = document.getElementById(id);
  const body = table.tBodies[0];
  if (!rows.length) {
    const cell = document.createElement("td");
    cell.colSpan = table.tHead.rows[0].cells.length;
    cell.className = "quiet";
    cell.textContent = empty;
    rows = [[cell]];
  }
  body.replaceChildren(...rows.map((cells) => {
    const row = document.createElement("tr");
    row.append(...cells);
    return row;
  }));
}

function cell(content, className = "") {
  const made = document.createElement("td");
  made.className = className;
  made.append(content);
  return made;
}

const number = (text) => cell(text, "number");

function share(part, whole, colour) {
  const bar = document.createElement("div");
  const used = document.createElement("i");
  bar.className = "bar";
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", `${((100 * part) / whole).toFixed(0)} % of the media`);
  used.style.width = `${(100 * part) / whole}%`;
  used.style.background = `var(${colour})`;
  bar.append(used);
  return cell(bar, "share");
}

// colours: host -> the variable of its colour in the chart; slopes: host -> bytes a second, or null.
export function showHosts(status, colours, slopes) {
  const physical = Number(status.identity.physical_capacity_bytes);
  const byUse = [...status.regions].sort(
    (one, other) => Number(other.telemetry.media_used_bytes) - Number(one.telemetry.media_used_bytes));
  fill("hosts", byUse.map((region) => {
    const of = region.telemetry;
    const slope = slopes.get(of.host) ?? null;
    const poisoned = Number(region.poisoned_pages);
    return [
      cell(of.host), number(bytes(Number(of.media_used_bytes))),
      share(Number(of.media_used_bytes), physical, colours.get(of.host) ?? "--s7"),
      number(slope === null ? "–" : `${slope > 0 ? "+" : ""}${bytes(slope)}/s`),
      number(count(Number(of.stored_pages))), number(ratio(of.ratio_milli / 1000)),
      number(bytes(Number(of.guaranteed_media_bytes))),
      number(Number(of.limit_media_bytes) >= physical ? "none" : bytes(Number(of.limit_media_bytes))),
      number(count(Number(of.trim_queued_pages))),
      cell(count(poisoned), poisoned ? "number bad" : "number"),
      number(seconds(Number(region.lease_remaining_ns) / 1e9)),
    ];
  }), "no host is attached");
}

export function showFaults(status) {
  fill("faults", status.faults.map((armed) => {
    const { scope, ...kinds } = armed.fault;
    const settings = Object.values(kinds)[0] ?? {};
    const with_ = [...told(settings), ...told(scope ?? {}).map((text) => `only ${text}`)];
    return [cell(armed.fault_id), cell(with_.join(", "), "wrap"),
      cell(clock(Number(armed.armed_wall_time_ns) / 1e6)), number(count(Number(armed.fired)))];
  }), "no fault is armed");
}

// Settings that say something: not zero, not empty.
function told(settings) {
  return Object.entries(settings)
    .filter(([, value]) => value && value !== "0" && value.length !== 0)
    .map(([name, value]) => `${label(name)} ${plain(name, value)}`);
}

function label(name) {
  return name.replace(/_(ns|milli|bytes)$/, "").replaceAll("_", " ");
}

function plain(name, value) {
  if (name.endsWith("_ns")) return `${Number(value) / 1e6} ms`;
  if (name.endsWith("_milli")) return `${value / 1000}`;
  if (name.endsWith("bytes")) return bytes(Number(value));
  if (Array.isArray(value)) return value.map((one) => word(one, "OPERATION_")).join(" ");
  return typeof value === "object" ? JSON.stringify(value) : word(value, /^[A-Z]+_[A-Z]+_/);
}

// Newest first.
export function showEvents(events, missed) {
  const rows = [...events].reverse().map((event) => {
    const kind = Object.keys(event).find((name) => !PLAIN.has(name)) ?? "event";
    return [cell(clock(Number(event.wall_time_ns) / 1e6)),
      cell(kind.replaceAll("_", " "), WARNINGS.has(kind) ? "bad" : ""), cell(facts(kind, event)),
      number(bytes(Number(event.telemetry.media_free_bytes)))];
  });
  if (missed) rows.push([cell(""), cell(`${missed} events came too fast to be kept`, "wrap"), cell(""), cell("")]);
  fill("events", rows, "nothing has happened yet");
}

function facts(kind, event) {
  const what = event[kind] ?? {};
  const level = (name) => word(name, "WATERMARK_LEVEL_");
  switch (kind) {
    case "watermark_crossed": return `${level(what.from_level)} → ${level(what.to_level)}`;
    case "poison_found": return `${event.telemetry.region.host}: ${what.dpas.length} pages`;
    case "region_detached": return `${what.host} (${word(what.cause, "DETACH_CAUSE_")})`;
    case "region_resized": return `${what.host} to ${bytes(Number(what.logical_bytes))}`;
    case "fault_cleared": return `${what.fault_id} (fired ${count(Number(what.fired))} times)`;
    default: return what.host ?? what.fault_id ?? what.next_generation ?? "";
  }
}
