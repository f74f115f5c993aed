// Checks a receipt against the draw that its page shows, step by step, in the reader's browser.
//
// <article data-check="/api/v1/drops/SLUG">: what is checked is what can be read there ([data-draw] in it). Each step is
// an <li data-step> with sentences for its outcomes ([data-when="yes|no|open"]), of which one is shown.

import {
  canCompute,
  digestOf,
  hashOf,
  hexOf,
  isConsistent,
  isHash,
  isIncluded,
  isSigned,
  numberOf,
  readReceipt,
  sha256,
} from "./draw.js";

const page = document.querySelector("[data-check]");
const form = page.querySelector("[data-form]");
const area = page.querySelector("#field-receipt");
const numbers = new Intl.NumberFormat(document.documentElement.lang || undefined);
const PATIENCE_MS = 15_000;
const byLot = page.dataset.mode === "draw";

function shown(name) {
  return page.querySelector(`[data-draw="${name}"]`)?.textContent.trim() ?? "";
}

/** The draw as the page shows it. */
function drawOnPage() {
  const draw = { room: page.dataset.room, size: Number(page.dataset.size), beaconSource: page.dataset.source };
  for (const name of ["commitment", "root", "seed", "beacon", "digest"]) draw[name] = shown(name);
  return draw;
}

const outcomes = new Map();

function tell(step, outcome) {
  outcomes.set(step, outcome);
  const item = page.querySelector(`[data-step="${step}"]`);
  item.hidden = false;
  for (const sentence of item.querySelectorAll("[data-when]")) sentence.hidden = sentence.dataset.when !== outcome;
}

const yesNo = (fits) => (fits ? "yes" : "no");

function fill(name, value) {
  for (const place of page.querySelectorAll(`[data-fill="${name}"]`)) place.textContent = numbers.format(value);
}

function reset() {
  outcomes.clear();
  for (const part of page.querySelectorAll("[data-step], [data-verdict], [data-failed], [data-wrong]")) part.hidden = true;
  area.removeAttribute("aria-invalid");
  page.querySelector("[data-field]").classList.remove("field-wrong");
}

/** The document at an address, or `absent` where the shop says that there is none. */
async function ask(address, { absent = null } = {}) {
  const answer = await fetch(address, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (answer.status === 404 && absent !== null) return absent;
  if (!answer.ok) throw new TypeError(String(answer.status));
  return answer.json();
}

function failed(why) {
  page.querySelector(`[data-failed="${why}"]`).hidden = false;
}

function conclude() {
  const found = new Set(outcomes.values());
  const verdict = found.has("no") ? "no" : found.has("open") ? "open" : "yes";
  page.querySelector(`[data-verdict="${verdict}"]`).hidden = false;
}

/** The seed, what was noted of it, and the digest. */
async function checkValues(draw, noted) {
  tell("seed", yesNo(isHash(draw.seed) && hexOf(await sha256(hashOf(draw.seed))) === draw.commitment));
  if (noted) tell("noted", yesNo(noted === draw.commitment));
  tell("digest", yesNo((await digestOf(draw)) === draw.digest));
}

/** A receipt's log and the one that was drawn from: the same, or the beginning of the other. */
async function checkLog(draw, receipt) {
  if (draw.size === 0) return; // of nothing, everything is a continuation
  if (receipt.size === draw.size) {
    tell("root", yesNo(receipt.root === draw.root));
    return;
  }
  const { proof } = await ask(`${page.dataset.check}/consistency/${receipt.size}`, { absent: { proof: [] } });
  const [older, newer] = receipt.size < draw.size ? [receipt, draw] : [draw, receipt];
  const own = { first: older.size, second: newer.size, firstRoot: older.root, secondRoot: newer.root };
  tell("grown", yesNo(proof.every(isHash) && (await isConsistent({ ...own, proof }))));
  fill("receipt-size", receipt.size);
}

async function checkEntry(draw, receipt) {
  fill("entry", receipt.index + 1);
  fill("size", draw.size);
  if (receipt.index >= draw.size) {
    tell("log", "open");
    return null;
  }
  const found = await ask(`${page.dataset.check}/entries/${receipt.index}`);
  const own = { entry: receipt.entry, index: receipt.index, size: draw.size, proof: found.proof, root: draw.root };
  tell("log", yesNo(found.proof.every(isHash) && (await isIncluded(own))));
  return found.number;
}

async function checkNumber(draw, receipt, given) {
  const late = receipt.index >= draw.size;
  const number = late || !byLot ? receipt.index + 1 : await numberOf(draw, receipt.index);
  if (given === null) return;
  fill("number", number);
  fill("given", given);
  tell("number", yesNo(number === given));
}

async function check(text, noted, ownNumber) {
  reset();
  const receipt = readReceipt(text);
  if (receipt === null) {
    page.querySelector("[data-wrong]").hidden = false;
    page.querySelector("[data-field]").classList.add("field-wrong");
    area.setAttribute("aria-invalid", "true");
    area.focus();
    return;
  }
  const draw = drawOnPage();
  if (![draw.commitment, draw.root, ...(byLot ? [draw.seed] : [])].every(isHash)) return failed("values");
  tell("room", yesNo(receipt.room === draw.room));
  if (receipt.room !== draw.room) return conclude();
  try {
    tell("signature", { true: "yes", false: "no", null: "open" }[await isSigned(receipt, (await ask("/api/v1/gate/keys")).keys)]);
    const told = await checkEntry(draw, receipt);
    await checkLog(draw, receipt);
    if (byLot) await checkValues(draw, noted);
    await checkNumber(draw, receipt, ownNumber ?? told);
    conclude();
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof DOMException)) throw error;
    failed("network");
  }
}

function start() {
  const own = area.value.trim();
  const ownNumber = page.dataset.number ? Number(page.dataset.number) : null;
  const noted = page.querySelector("#field-noted");
  const checkTyped = () => {
    const text = area.value.trim();
    return check(text, noted?.value.trim().toLowerCase() ?? "", text === own ? ownNumber : null);
  };
  page.querySelector("[data-own]").hidden = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await checkTyped();
    page.querySelector("[data-answer]").scrollIntoView({ block: "nearest" });
  });
  if (own) checkTyped();
}

if (canCompute) start();
else page.querySelector("[data-cannot]").hidden = false;
