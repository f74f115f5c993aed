// Counts down to the moments of the server's clock, and says so politely.
//
// <p data-countdown data-until="2026-11-22T12:00:00.000Z" data-then="reload|reveal" data-target="ID" data-done="Open">
//   <span role="timer" data-clock>...</span>
// </p>
// `reveal` shows the element whose id is data-target and which was rendered with `data-waiting inert`: its space is
// taken from the start, so that nothing jumps under a finger that waits for it.

const RELOAD_SPREAD_MS = 1500;
const SPOKEN_AT_S = [3600, 1800, 600, 300, 120, 60, 30, 10];

/** How far this device's clock is behind the server's, in ms: the page was made when its first byte arrived here. */
export function clockOffset() {
  const served = Date.parse(document.documentElement.dataset.serverTime ?? "");
  if (Number.isNaN(served)) return 0;
  const entry = performance.getEntriesByType("navigation")[0];
  const arrived = performance.timeOrigin + (entry?.responseStart || performance.now());
  return served - arrived;
}

/** 93784 -> "1 d 02:03:04"; 184 -> "3:04". The width changes as seldom as may be. */
export function clockText(seconds) {
  const pad = (value) => String(value).padStart(2, "0");
  const days = Math.floor(seconds / 86400);
  const hours = Math.floor((seconds % 86400) / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  const rest = pad(seconds % 60);
  if (days > 0) return `${days} d ${pad(hours)}:${pad(minutes)}:${rest}`;
  if (hours > 0) return `${hours}:${pad(minutes)}:${rest}`;
  return `${minutes}:${rest}`;
}

/** The same for the ear. */
function spokenText(seconds, lang) {
  const unit = seconds >= 3600 ? "hour" : seconds >= 60 ? "minute" : "second";
  const value = Math.round(seconds / { hour: 3600, minute: 60, second: 1 }[unit]);
  return new Intl.NumberFormat(lang, { style: "unit", unit, unitDisplay: "long" }).format(value);
}

function speaker() {
  const region = document.createElement("p");
  region.className = "visually-hidden";
  region.setAttribute("aria-live", "polite");
  document.body.append(region);
  return (text) => { region.textContent = text; };
}

function finish(box, clock, say) {
  const words = box.dataset.done;
  if (words) {
    clock.textContent = words;
    say(words);
  }
  if (box.dataset.then === "reveal") {
    const target = document.getElementById(box.dataset.target);
    target?.removeAttribute("data-waiting");
    target?.removeAttribute("inert");
    return;
  }
  // Everybody's clock strikes at once: spread the requests a little, so that the first page is a fast one.
  setTimeout(() => location.reload(), Math.random() * RELOAD_SPREAD_MS);
}

function start(box, offset, say) {
  const until = Date.parse(box.dataset.until);
  const clock = box.querySelector("[data-clock]");
  const label = box.querySelector(".countdown-label")?.textContent.trim() ?? "";
  const lang = document.documentElement.lang || "en";
  let shown = Infinity;

  function tick() {
    const left_ms = until - (Date.now() + offset);
    const seconds = Math.max(0, Math.ceil(left_ms / 1000));
    if (left_ms <= 0) {
      clock.textContent = clockText(0);
      finish(box, clock, say);
      return;
    }
    if (seconds !== shown) {
      clock.textContent = clockText(seconds);
      if (Number.isFinite(shown) && SPOKEN_AT_S.some((mark) => seconds <= mark && mark < shown)) {
        say(`${label} ${spokenText(seconds, lang)}`);
      }
      if (seconds <= 60) box.dataset.soon = "";
      shown = seconds;
    }
    setTimeout(tick, Math.min(left_ms, left_ms % 1000 || 1000) + 10);
  }

  tick();
}

const boxes = document.querySelectorAll("[data-countdown]");
if (boxes.length > 0) {
  const offset = clockOffset();
  const say = speaker();
  for (const box of boxes) start(box, offset, say);
}
