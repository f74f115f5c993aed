// Follows a waiting room: its public status, which is the same small document for everybody, as often as it says; one's
// own place only near the front. The page is loaded anew only when there is something to do. Nobody who waits asks for
// their number: it follows from what is published at the draw. Without JavaScript the page reloads by itself.

import { clockOffset } from "../web/countdown.js";
import { makeChime } from "./chime.js";
import { canCompute, numberOf } from "./draw.js";
import { nextPoll, retryBudget, retryPause } from "./poll.js";

const room = document.querySelector("[data-room]");
const { room: address, id, stage, opens, place, ticket } = room.dataset;
const lang = document.documentElement.lang || undefined;
const numbers = new Intl.NumberFormat(lang);
const plurals = new Intl.PluralRules(lang);
const title = document.title;

const PATIENCE_MS = 10_000;
const SPREAD_MS = 2000;
/** Asks a second that a room takes where all who wait have one reason: pages, and places of those who cannot compute. */
const ASKS_PER_S = 2000;
const LEAST_PACE = 0.001;
const SPEAK_EVERY_MS = 60_000;

const offset = clockOffset();
let number = room.dataset.number ? Number(room.dataset.number) : null;
let failures = 0;
let usual_s = 0;
const budget = retryBudget();
let timer = 0;
let spoken = { at: 0, text: "" };
let over = false;

const find = (selector) => room.querySelector(selector);
const all = (selector) => room.querySelectorAll(selector);

function show(name, value) {
  for (const element of all(`[data-show="${name}"]`)) if (value !== null) element.textContent = numbers.format(value);
}

function hide(selector, hidden) {
  for (const element of all(selector)) element.hidden = hidden;
}

/** A sentence with a count in it, in the form that the language asks for; null hides it. */
function count(name, value) {
  const element = find(`[data-counted="${name}"]`);
  const words = plurals.select(value ?? 0) === "one" ? element.dataset.one : element.dataset.other;
  element.textContent = words.replace("{n}", numbers.format(value ?? 0));
  element.hidden = !value;
}

/** Says something to those who listen: what changed at once, where one stands once a minute. */
function say(text, { now = false } = {}) {
  const due = now || Date.now() - spoken.at >= SPEAK_EVERY_MS;
  if (!due || text === spoken.text) return;
  spoken = { at: Date.now(), text };
  find("[data-say]").textContent = text;
}

const wordsOf = (selector) => find(selector).textContent.replace(/\s+/g, " ").trim();

/** Loads the page anew, at another moment than the others who do so for the same reason. */
function reload(status = null) {
  over = true;
  const within_ms = Math.max(SPREAD_MS, ((status?.joined ?? 0) / ASKS_PER_S) * 1000);
  setTimeout(() => location.reload(), Math.random() * within_ms);
}

function pauseOf(status) {
  const opensIn_s = (Date.parse(opens) - Date.now() - offset) / 1000; // an unchanged status has an old `at`
  return nextPoll({ poll: status.poll, number, serving: status.serving, opensIn_s, draw: Math.random() });
}

function showPart(name) {
  if (room.dataset.part === name) return;
  room.dataset.part = name;
  for (const part of all("[data-part-of]")) part.hidden = part.dataset.partOf !== name;
  say(wordsOf(`[data-part-of="${name}"]`), { now: true });
}

function showMessage(text) {
  const element = find("[data-message-text]");
  if (element.textContent === text) return;
  element.textContent = text;
  hide("[data-message]", !text);
  if (text) say(text, { now: true });
}

function showPause(paused) {
  const line = find("[data-paused]");
  if (line === null || line.hidden === !paused) return;
  line.hidden = !paused;
  if (paused) say(wordsOf("[data-paused]"), { now: true });
}

function showBadge(phase) {
  const badge = phase === "open" || phase === "sold_out" ? phase : "early";
  for (const element of all("[data-badge]")) element.hidden = element.dataset.badge !== badge;
}

/** Whether what is left will do for all who are before, as the server says it (`prospect_of`). */
function showProspect(status, ahead) {
  const known = status.phase === "open" && status.left !== null;
  const prospect = !known ? "" : status.left === 0 ? "held" : ahead >= status.left ? "short" : "";
  for (const line of all("[data-prospect]")) line.hidden = line.dataset.prospect !== prospect;
}

function showStand(status) {
  const ahead = Math.max(number - status.serving, 0);
  const moves = status.phase === "open" && !status.paused && status.left !== 0 && status.pace_per_s >= LEAST_PACE;
  show("number", number);
  show("all", Math.max(status.joined, number));
  count("ahead", ahead);
  hide("[data-next]", ahead > 0);
  count("minutes", moves ? Math.max(Math.round((Math.floor(ahead / status.pace_per_s) + 1) / 60), 1) : null);
  showProspect(status, ahead);
  const bar = find("progress");
  bar.max = number;
  bar.value = Math.min(status.serving, number);
  document.title = `${numbers.format(ahead)} · ${title}`;
}

async function ask(path, headers = {}) {
  const options = { headers, cache: "no-cache", signal: AbortSignal.timeout(PATIENCE_MS) };
  const answer = await fetch(`${address}${path}`, options);
  if (answer.ok) return answer.json();
  const error = new Error(String(answer.status));
  error.status = answer.status;
  error.retryAfter_s = Number(answer.headers.get("retry-after")) || 0;
  throw error;
}

/** One's place as it stands; null when it is somebody else's by now, as after signing out. */
async function askPlace() {
  try {
    return await ask(`/places/${place}`, { "Tidegate-Ticket": ticket });
  } catch (error) {
    if (![401, 403, 404].includes(error.status)) throw error;
    reload();
    return null;
  }
}

/** One's number once the lots are drawn: computed from what is public, or asked for where a browser cannot. */
async function learnNumber(status) {
  if (canCompute) {
    const draw = status.draw ?? (await ask("/draw")); // the status of a room that is over no longer has it
    const index = Number(room.dataset.index);
    if (draw.seed === null) return;
    const values = { seed: draw.seed, root: draw.root, beacon: draw.beacon ?? "", size: draw.size };
    number = index < draw.size ? await numberOf(values, index) : index + 1;
    return;
  }
  const spread_s = Math.min(status.joined / ASKS_PER_S, status.poll.far_s);
  await new Promise((done) => setTimeout(done, Math.random() * spread_s * 1000));
  number = (await askPlace())?.number ?? null;
}

const chime = makeChime(find("[data-sound]"), hide);

function takeTurn() {
  over = true;
  const words = room.dataset.turnTitle;
  document.title = `${words}: ${title}`;
  say(words, { now: true });
  chime.play().finally(() => location.reload());
}

/** Whether the drop was opened anew, in another room. */
const isAnother = (status) => Boolean(status.room) && status.room !== id;

const isEarly = (status) => status.phase === "scheduled" || status.phase === "lobby";

/** Whether staff put the opening to another time, which the countdown does not know. */
function isMoved(status) {
  return isEarly(status) && Math.abs(Date.parse(status.opens_at) - Date.parse(opens)) >= 1000;
}

async function lookAtLine(status) {
  if (status.phase === "closed" || isMoved(status)) return reload(status);
  if (number === null && (status.drawn || status.mode === "arrival")) await learnNumber(status);
  if (number !== null && !over) {
    showStand(status);
    if (status.serving > number) {
      const own = await askPlace();
      if (own?.state === "admitted") return takeTurn();
      if (own && own.state !== "waiting") return reload();
      if (own?.number && own.number !== number) number = own.number;
    }
  }
  if (over) return;
  showPart(status.phase === "sold_out" ? "sold_out" : number !== null ? "number" : isEarly(status) ? "lobby" : "drawing");
  if (room.dataset.part === "number") say(wordsOf('[data-part-of="number"]'));
}

async function update(status) {
  if (isAnother(status)) return reload(status);
  show("joined", Math.max(status.joined, number ?? 0)); // a second old, while the page is not
  show("left", status.left);
  hide("[data-left]", status.left === null);
  showMessage(status.message);
  showPause(status.paused);
  if (stage === "line") await lookAtLine(status);
  else if (status.phase !== room.dataset.phase || isMoved(status)) reload(status);
  if (stage === "line" && !over) showBadge(status.phase);
}

function offline(is) {
  const notice = find("[data-offline]");
  if (notice.hidden === !is) return;
  notice.hidden = !is;
  if (is) say(wordsOf("[data-offline]"), { now: true });
}

function plan(pause_s) {
  clearTimeout(timer);
  if (!over) timer = setTimeout(look, pause_s * 1000);
}

async function look() {
  let pause_s;
  try {
    const status = await ask("/status");
    await update(status);
    failures = 0;
    offline(false);
    budget.looked();
    pause_s = usual_s = pauseOf(status);
  } catch (error) {
    failures += 1;
    offline(true);
    pause_s = retryPause({ failures, retryAfter_s: error.retryAfter_s ?? 0, draw: Math.random() });
    if (!budget.take()) pause_s = Math.max(pause_s, usual_s);
  }
  plan(pause_s);
}

addEventListener("offline", () => offline(true));
addEventListener("online", () => plan(Math.random()));
if (stage !== "turn") look();
