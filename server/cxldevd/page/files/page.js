// The page: asks the device every two seconds, and shows what it said; says so when it does not answer.

import { Chart } from "./chart.js";
import { Recording } from "./recording.js";
import { showEvents, showFaults, showHosts } from "./tables.js";
import { bytes, clock, count, perSecond, ratio, seconds, shortCount, word } from "./units.js";

const EVERY_MS = 2000;
const PATIENCE_MS = 8000;
// Not the red of what faults hold first.
const HOST_COLOURS = ["--s1", "--s2", "--s3", "--s5", "--s6", "--s4"];
const TOKEN = "cxldevd token";
const MEDIA = [
  ["sectors", "sectors_bytes", "--s1"], ["metadata", "metadata_bytes", "--s2"],
  ["staged", "staged_bytes", "--s3"], ["held by faults", "reserved_bytes", "--s4"],
];
const howOften = (number) => (number === 1 ? "once" : `${count(number)} times`);
const at = (id) => document.getElementById(id);
const recording = new Recording();
let answeredAt = null;
let lostAt = null;

class TokenWanted extends Error {}

async function ask(path) {
  const token = sessionStorage.getItem(TOKEN);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.status === 401) throw new TokenWanted(token ? "nobody has this token" : "");
  if (!answer.ok) throw new Error(`${path}: HTTP ${answer.status}`);
  return answer.json();
}

// -- figures -----------------------------------------------------------------------------------------

const charts = {
  media: new Chart({ title: "Media used", format: bytes, base: 1024, stacked: true, empty: "nothing is stored" }),
  hosts: new Chart({ title: "Media by host", format: bytes, base: 1024, stacked: true, empty: "no host is attached" }),
  pages: new Chart({ title: "Pages", format: perSecond, axis: (value) => `${shortCount(value)}/s`, empty: "no page moves" }),
  ratio: new Chart({ title: "Compression ratio", format: ratio, axis: (value) => `${+value.toFixed(2)}:1`, empty: "nothing is stored" }),
};
at("charts").append(...Object.values(charts).map((chart) => chart.figure));

function show({ status, events, events_missed: missed }) {
  const { identity, telemetry, media, counters } = status;
  const physical = Number(identity.physical_capacity_bytes);
  at("identity").textContent =
    `${bytes(physical)} sold as ${bytes(Number(identity.logical_capacity_bytes))} · generation ${identity.generation} (${identity.origin}) · version ${identity.version}`;
  document.title = `${telemetry.no_more_writes ? "FULL · " : ""}cxldevd`;
  showMedia(physical, telemetry, media, identity.watermarks);
  showWatermark(telemetry, identity.watermarks);
  showFull(physical, telemetry);
  at("ratio").textContent = ratio(telemetry.ratio_milli / 1000);
  at("ratio").className = telemetry.ratio_milli && telemetry.ratio_milli < telemetry.zratio_milli ? "value warn" : "value";
  at("ratio-note").textContent = `advertised ${ratio(telemetry.zratio_milli / 1000)}`;
  const rows = recording.withGaps;
  const rate = (name) => Recording.rate(rows, name);
  const newest = (values) => values.at(-1) ?? 0;
  const written = rate("written_pages"), read = rate("read_pages"), refused = rate("refused_pages");
  at("pages").textContent = count(Number(telemetry.stored_pages));
  at("pages-note").textContent = `written ${perSecond(newest(written))}, read ${perSecond(newest(read))}`;
  at("refused").textContent = count(Number(counters.refused_pages));
  at("refused").className = newest(refused) ? "value bad" : "value";
  at("refused-note").textContent = `${perSecond(newest(refused))}; no more writes ${howOften(Number(counters.no_more_writes))}`;

  const times = rows.map((row) => row.time);
  const base = { times, ...recording.domain, bands: recording.fullBands, marks: recording.marks };
  const series = (name, colour, values) => ({ name, colour, values });
  const column = (name, scale = 1) => rows.map((row) => (row.missing ? null : row[name] / scale));
  charts.media.update({ ...base, references: [{ name: "media", value: physical }],
    series: MEDIA.filter(([, name]) => name === "sectors_bytes" || rows.some((row) => row[name]))
      .map(([name, from, colour]) => series(name, colour, column(from))) });
  const shown = hostSeries(rows);
  charts.hosts.update({ ...base, series: shown });
  charts.pages.update({ ...base, series: [series("written", "--s1", written), series("read", "--s5", read),
    series("trimmed", "--s6", rate("trimmed_pages")), series("refused", "--s4", refused)] });
  charts.ratio.update({ ...base, references: [{ name: "advertised", value: telemetry.zratio_milli / 1000 }],
    series: [series("observed", "--s1", column("ratio_milli", 1000).map((value) => value || null))] });

  const slopes = new Map(status.regions.map((region) => region.telemetry.host)
    .map((host) => [host, recording.slope((row) => row.hosts[host], 1)]));
  showHosts(status, new Map(shown.map((one) => [one.name, one.colour])), slopes);
  showFaults(status);
  showEvents(events, missed);
  at("no-more-writes").hidden = !telemetry.no_more_writes;
  const held = Number(media.reserved_bytes);
  at("no-more-writes").textContent = `No more writes: a page was refused for want of media, and not enough is free again. ${
    held ? `Faults hold ${bytes(held)} back (cramctl clear --all).` : "Media comes back by writeback and TRIM."}`;
}

function showMedia(physical, telemetry, media, marks) {
  at("used").textContent = bytes(Number(telemetry.media_used_bytes));
  at("physical").textContent = bytes(physical);
  const parts = MEDIA.map(([name, field, colour]) => [name, Number(media[field]), colour]).filter(([, size]) => size);
  const segments = parts.map(([, size, colour]) => {
    const segment = document.createElement("i");
    segment.style.width = `${(100 * size) / physical}%`;
    segment.style.background = `var(${colour})`;
    return segment;
  });
  const ticks = ["low", "critical"].map((level) => {
    const tick = document.createElement("b");
    tick.style.left = `${100 - (100 * Number(marks[`${level}_bytes`])) / physical}%`;
    tick.title = `${level} watermark`;
    return tick;
  });
  at("bar").replaceChildren(...segments, ...ticks);
  const free = ["free", Number(telemetry.media_free_bytes), "--line"];
  at("bar").setAttribute("aria-label", [...parts, free].map(([name, size]) => `${name} ${bytes(size)}`).join(", "));
  at("bar-legend").replaceChildren(...[...parts, free].map(([name, size, colour]) => {
    const entry = document.createElement("span");
    const key = document.createElement("i");
    key.className = "key";
    key.style.background = `var(${colour})`;
    const value = document.createElement("strong");
    value.textContent = bytes(size);
    entry.append(key, `${name} `, value);
    return entry;
  }));
}

function showWatermark(telemetry, marks) {
  const level = word(telemetry.watermark, "WATERMARK_LEVEL_");
  const tone = { "above high": "good", high: "good", medium: "warn" }[level] ?? "bad";
  at("watermark").textContent = level;
  at("watermark").className = `value ${tone}`;
  at("watermark-note").textContent =
    `${bytes(Number(telemetry.media_free_bytes))} free; low at ${bytes(Number(marks.low_bytes))}`;
}

function showFull(physical, telemetry) {
  const over = (minutes) => recording.slope((row) => row.free_bytes, minutes);
  const long = over(5);
  // A device that has just begun can be full before five minutes are known. What fell and rises again is no forecast.
  const [slope, lately] = long === null ? [over(1), over(1 / 6)] : [long, over(1)];
  const by = `by the last ${long === null ? "minute" : "five minutes"}`;
  const free = Number(telemetry.media_free_bytes);
  let text = "no", note = by, tone = "good";
  if (telemetry.no_more_writes) [text, note, tone] = ["now", "takes no more writes", "bad"];
  else if (!free) [text, note, tone] = ["now", "no media is free", "bad"];
  else if (slope === null) [text, note, tone] = ["–", "not known yet", ""];
  else if (slope * 3600 < -physical / 100 && lately < 0 && free < physical) {
    const left = free / -slope;
    [text, note, tone] = [`in ${seconds(left)}`, `${bytes(-slope)}/s, ${by}`, left < 600 ? "warn" : ""];
  }
  at("full").textContent = text;
  at("full").className = `value ${tone}`;
  at("full-note").textContent = note;
}

// The hosts that take the most, in the order of their names; the rest as one.
function hostSeries(rows) {
  const last = new Map();
  for (const row of rows) for (const [host, used] of Object.entries(row.hosts)) last.set(host, Math.max(used, last.get(host) ?? 0));
  const most = [...last.entries()].sort((one, other) => other[1] - one[1]).slice(0, HOST_COLOURS.length).map(([host]) => host).sort();
  const found = most.map((host, place) => ({ name: host, colour: HOST_COLOURS[place],
    values: rows.map((row) => (row.missing ? null : row.hosts[host] ?? 0)) }));
  if (last.size > most.length) {
    const rest = (row) => Object.entries(row.hosts).reduce((sum, [host, used]) => sum + (most.includes(host) ? 0 : used), 0);
    found.push({ name: "others", colour: "--s7", values: rows.map((row) => (row.missing ? null : rest(row))) });
  }
  return found;
}

// -- life --------------------------------------------------------------------------------------------

async function look() {
  try {
    const now = await ask("/status.json");
    recording.add(await ask(`/history.json?after=${recording.after(now.recording)}`));
    at("token-form").hidden = true;
    at("figures").hidden = false;
    show(now);
    answeredAt = Date.now();
    lostAt = null;
  } catch (problem) {
    if (problem instanceof TokenWanted) wantToken(problem.message);
    else if (!(problem instanceof TypeError || problem instanceof DOMException)) console.error(problem);
    lostAt ??= Date.now();
  }
  tell();
}

function tell() {
  const lost = lostAt !== null && at("token-form").hidden;
  at("connection").textContent = lost ? "no answer" : answeredAt ? `live · ${clock(answeredAt)}` : "connecting …";
  at("connection").className = lost ? "quiet lost" : "quiet live";
  at("figures").classList.toggle("stale", lost);
  at("away").hidden = !lost;
  if (!lost) return;
  const seen = answeredAt ? `What you see is of ${clock(answeredAt)}.` : "";
  at("away").textContent = `The device does not answer since ${clock(lostAt)}. ${seen} This page goes on asking.`;
  at("no-more-writes").hidden = true;
}

function wantToken(problem) {
  at("token-problem").textContent = problem;
  at("token-form").hidden = false;
  at("figures").hidden = true;
}

at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, at("token").value.trim());
  look();
});

async function live() {
  await look();
  setTimeout(live, EVERY_MS);
}

live();
