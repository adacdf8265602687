// The samples that the page holds: at most half an hour, over restarts of the device, with gaps where there are none.

const SPAN_MS = 30 * 60 * 1000;
const LEAST_SPAN_MS = 60 * 1000;

export class Recording {
  constructor() {
    this.id = "";
    this.last = 0;
    this.intervalMs = 2000;
    this.rows = [];
  }

  // What to ask for: all of a recording that is not known yet.
  after(id) {
    return id === this.id ? this.last : 0;
  }

  // `history`: an answer of /history.json. A new recording is a new process: its counters begin anew.
  add(history) {
    const begins = history.recording !== this.id;
    this.id = history.recording;
    this.last = history.last;
    this.intervalMs = history.interval_ms;
    const names = Object.keys(history.figures);
    history.time_ms.forEach((time, i) => {
      const row = { time, generation: history.generation[i], begins: begins && i === 0, hosts: {} };
      for (const name of names) row[name] = history.figures[name][i];
      for (const [host, used] of Object.entries(history.host_used_bytes)) {
        if (used[i] !== null) row.hosts[host] = used[i];
      }
      if (!this.rows.length || time > this.rows.at(-1).time) this.rows.push(row);
    });
    const newest = this.rows.at(-1)?.time ?? 0;
    this.rows = this.rows.filter((row) => row.time > newest - SPAN_MS);
  }

  // Samples as charts want them: a row of nulls stands in each gap, so that no curve crosses it.
  get withGaps() {
    const found = [];
    this.rows.forEach((row, i) => {
      const before = this.rows[i - 1];
      if (before && this.gap(before, row)) found.push({ time: before.time + 1, missing: true, hosts: {} });
      found.push(row);
    });
    return found;
  }

  gap(before, row) {
    return row.begins || row.time - before.time > 4 * this.intervalMs;
  }

  get domain() {
    const newest = this.rows.at(-1)?.time ?? Date.now();
    const oldest = this.rows[0]?.time ?? newest;
    return { from: Math.min(oldest, newest - LEAST_SPAN_MS), to: newest };
  }

  // A counter's growth in a second, at each row of `withGaps`; null where it cannot be told.
  static rate(rows, name) {
    return rows.map((row, i) => {
      const before = rows[i - 1];
      if (!before || row.missing || before.missing || row.begins) return null;
      return Math.max(0, row[name] - before[name]) / ((row.time - before.time) / 1000);
    });
  }

  // Slope of a figure over the last minutes, in units a second, by least squares, as predict_linear has
  // it; null while less than a third of that time is known. `read`: a row -> its value, or undefined.
  slope(read, minutes) {
    const newest = this.rows.at(-1);
    if (!newest) return null;
    let rows = this.rows.filter((row) => row.time > newest.time - minutes * 60000);
    // Another power-on is another device.
    rows = rows.slice(rows.findLastIndex((row) => row.begins || row.generation !== newest.generation) + 1);
    const points = rows.map((row) => [(row.time - newest.time) / 1000, read(row)]).filter(([, y]) => y !== undefined);
    if (points.length < 2 || points.at(-1)[0] - points[0][0] < minutes * 20) return null;
    const meanX = points.reduce((sum, [x]) => sum + x, 0) / points.length;
    const meanY = points.reduce((sum, [, y]) => sum + y, 0) / points.length;
    const over = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
    return over / points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  }

  // Stretches of time in which a page would have been refused: [{from, to}].
  get fullBands() {
    const bands = [];
    this.rows.forEach((row, i) => {
      const before = this.rows[i - 1];
      // The counter tells of one that began and ended between two samples.
      if (before && !row.begins && row.no_more_writes_episodes > before.no_more_writes_episodes) {
        bands.push({ from: before.time, to: row.time });
      }
      if (!row.no_more_writes) return;
      const next = this.rows[i + 1];
      const to = next && !this.gap(row, next) ? next.time : row.time;
      if (bands.length && bands.at(-1).to >= row.time) bands.at(-1).to = to;
      else bands.push({ from: row.time, to });
    });
    return bands;
  }

  // Moments worth a line: faults armed and cleared, power-ons.
  get marks() {
    const found = [];
    this.rows.forEach((row, i) => {
      const before = this.rows[i - 1];
      if (!before) return;
      if (row.generation !== before.generation) {
        found.push({ time: row.time, kind: "reset", text: `new generation ${row.generation}` });
      } else if (row.faults_armed !== before.faults_armed) {
        const text = row.faults_armed > before.faults_armed ? "fault armed" : "fault cleared";
        found.push({ time: row.time, kind: "fault", text: `${text}: ${row.faults_armed} armed` });
      }
    });
    return found;
  }
}
