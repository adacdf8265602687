// Figures as people read them. Bytes are powers of 1024, as in the rest of cramulator.

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytes(size) {
  let unit = 0;
  while (Math.abs(size) >= 1024 && unit < SIZES.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(size) : size.toFixed(1)} ${SIZES[unit]}`;
}

export function count(number) {
  return Math.round(number).toLocaleString("en-GB");
}

export function shortCount(number) {
  for (const [size, letter] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(number) >= size) return `${+(number / size).toPrecision(3)}${letter}`;
  }
  return `${+number.toPrecision(3)}`;
}

export function perSecond(number) {
  return `${number > 0 && number < 10 ? number.toFixed(1) : count(number)}/s`;
}

export function ratio(value) {
  return value ? `${value.toFixed(2)}:1` : "–";
}

export function seconds(value) {
  if (value < 60) return `${value < 10 ? value.toFixed(1) : Math.round(value)} s`;
  if (value < 3600) return `${Math.round(value / 60)} min`;
  if (value < 172800) return `${+(value / 3600).toFixed(1)} h`;
  return `${Math.round(value / 86400)} days`;
}

export function clock(timeMs, withSeconds = true) {
  const options = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
  if (withSeconds) options.second = "2-digit";
  return new Date(timeMs).toLocaleTimeString("en-GB", options);
}

// `WATERMARK_LEVEL_ABOVE_HIGH` -> `above high`
export function word(name, prefix) {
  return String(name).replace(prefix, "").replaceAll("_", " ").toLowerCase();
}
