// Recomputes a draw with WebCrypto, from what is public: the log's proofs (RFC 9162), the key, and one entry's number.
// The same as `tidegate verify-draw`, for one entry; docs/reference/draw.md says how it works.

const LABEL = "tidegate-draw-v1";
const ROUNDS = 10;
const LEAST_BASE = 4;
const RECEIPT_KIND = "tgr1";
const RECEIPT_BYTES = 96;
const SEAT_BYTES = 8;
const HASH_BYTES = 32;
const SIGNATURE_BYTES = 64;
const HASH = /^[0-9a-f]{64}$/;

/** Browsers calculate on pages that came over https, or from this machine, only. */
export const canCompute = Boolean(globalThis.crypto?.subtle);

export const utf8 = (text) => new TextEncoder().encode(text);
export const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
export const isHash = (text) => HASH.test(text ?? "");

/** 64 hexadecimal digits as bytes. */
export function hashOf(text) {
  if (!isHash(text)) throw new RangeError("no hash");
  return Uint8Array.from(text.match(/../g), (pair) => Number.parseInt(pair, 16));
}

function joined(...parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A number as so many bytes, the highest first. */
function bigEndian(value, bytes) {
  const found = new Uint8Array(bytes);
  for (let at = bytes - 1, rest = value; at >= 0; at -= 1, rest = Math.floor(rest / 256)) found[at] = rest % 256;
  return found;
}

export async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
}

async function hmac(secret) {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return async (...parts) => new Uint8Array(await crypto.subtle.sign("HMAC", key, joined(...parts)));
}

/** The hash over all that a draw is made of but its seed, in hexadecimal digits. */
export async function digestOf({ commitment, root, size, beaconSource, beacon }) {
  const parts = [utf8(LABEL), hashOf(commitment), hashOf(root), utf8(String(size)), utf8(beaconSource), utf8(beacon)];
  return hexOf(await sha256(...parts.flatMap((part) => [bigEndian(part.length, 4), part])));
}

/** The number that a draw gives to the entry at `index`: a Feistel network over two digits, with cycle walking. */
export async function numberOf({ seed, root, beacon, size }, index) {
  const key = await (await hmac(hashOf(seed)))(hashOf(root), utf8(beacon));
  const mac = await hmac(key);
  const base = Math.max(LEAST_BASE, Math.ceil(Math.sqrt(size)));
  let value = index;
  do {
    let left = Math.floor(value / base);
    let right = value % base;
    for (let turn = 0; turn < ROUNDS; turn += 1) {
      const digest = await mac(utf8(LABEL), Uint8Array.of(turn), bigEndian(size, 8), bigEndian(right, 8));
      const share = Number(BigInt(`0x${hexOf(digest.subarray(0, 16))}`) % BigInt(base));
      [left, right] = [right, (left + share) % base];
    }
    value = left * base + right;
  } while (value >= size);
  return value + 1;
}

/** The root to which `proof` (hashes as bytes) leads from a leaf's hash (RFC 9162, 2.1.3.2); null where it fits no tree. */
async function rootBy({ leaf, index, size, proof }) {
  if (!(index >= 0 && index < size)) return null;
  let at = index;
  let last = size - 1;
  let found = leaf;
  for (const sibling of proof) {
    if (last === 0) return null;
    if (at % 2 === 1 || at === last) {
      found = await sha256(Uint8Array.of(1), sibling, found);
      while (at % 2 === 0 && at > 0) {
        at /= 2;
        last = Math.floor(last / 2);
      }
    } else {
      found = await sha256(Uint8Array.of(1), found, sibling);
    }
    at = Math.floor(at / 2);
    last = Math.floor(last / 2);
  }
  return last === 0 ? found : null;
}

/** Whether `proof` leads from an entry to the root of the log's first `size` entries. */
export async function isIncluded({ entry, index, size, proof, root }) {
  const leaf = await sha256(Uint8Array.of(0), hashOf(entry));
  const found = await rootBy({ leaf, index, size, proof: proof.map(hashOf) });
  return found !== null && hexOf(found) === root;
}

/** Whether `proof` shows that a log of `first` entries is the beginning of one of `second` (RFC 9162, 2.1.4.2). */
export async function isConsistent({ first, second, proof, firstRoot, secondRoot }) {
  if (!(first >= 1 && first <= second)) return false;
  if (first === second) return proof.length === 0 && firstRoot === secondRoot;
  const half = (value) => Math.floor(value / 2);
  let at = first - 1;
  let last = second - 1;
  for (; at % 2 === 1; at = half(at)) last = half(last);
  const path = (at === 0 ? [firstRoot, ...proof] : proof).map(hashOf); // first is a power of two
  if (path.length === 0) return false;
  let [older, newer] = [path[0], path[0]];
  for (const node of path.slice(1)) {
    if (last === 0) return false;
    if (at % 2 === 1 || at === last) {
      older = await sha256(Uint8Array.of(1), node, older);
      newer = await sha256(Uint8Array.of(1), node, newer);
      for (; at % 2 === 0 && at > 0; at /= 2) last = half(last);
    } else {
      newer = await sha256(Uint8Array.of(1), newer, node);
    }
    at = half(at);
    last = half(last);
  }
  return last === 0 && hexOf(older) === firstRoot && hexOf(newer) === secondRoot;
}

function fromBase64Url(text) {
  if (!/^[A-Za-z0-9_-]*$/.test(text)) return null;
  try {
    return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (letter) => letter.charCodeAt(0));
  } catch {
    return null;
  }
}

/** What a receipt says, or null for what is none. */
export function readReceipt(text) {
  const parts = text.replace(/\s+/g, "").split(".");
  if (parts.length !== 4 || parts[0] !== RECEIPT_KIND) return null;
  const payload = fromBase64Url(parts[2]);
  const seal = fromBase64Url(parts[3]);
  if (payload?.length !== RECEIPT_BYTES || seal === null) return null;
  const view = new DataView(payload.buffer);
  return {
    room: hexOf(payload.subarray(0, 16)).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5"),
    index: Number(view.getBigUint64(16)),
    entry: hexOf(payload.subarray(24, 56)),
    size: Number(view.getBigUint64(56)),
    root: hexOf(payload.subarray(64, 96)),
    kid: parts[1],
    signed: utf8(parts.slice(0, 3).join(".")),
    seal,
  };
}

/** What was signed for all receipts of a batch, and the signature; null for a receipt that is not one of a batch. */
async function signedOf({ kid, signed, seal }) {
  if (seal.length < SEAT_BYTES + SIGNATURE_BYTES || (seal.length - SEAT_BYTES - SIGNATURE_BYTES) % HASH_BYTES) return null;
  const seat = new DataView(seal.buffer);
  const [index, size] = [seat.getUint32(0), seat.getUint32(4)];
  const proof = [];
  for (let at = SEAT_BYTES; at < seal.length - SIGNATURE_BYTES; at += HASH_BYTES) proof.push(seal.subarray(at, at + HASH_BYTES));
  const root = await rootBy({ leaf: await sha256(Uint8Array.of(0), signed), index, size, proof });
  if (root === null) return null;
  const head = utf8(`${RECEIPT_KIND}.${kid}.`);
  return { all: joined(head, bigEndian(size, 4), root), signature: seal.subarray(-SIGNATURE_BYTES) };
}

/** Whether one of `keys` (as the API lists them) signed a receipt: true, false, or null where no browser can say. */
export async function isSigned(receipt, keys) {
  let key;
  const known = keys.find((each) => each.kid === receipt.kid);
  if (!known) return false;
  try {
    key = await crypto.subtle.importKey("raw", fromBase64Url(known.x), { name: "Ed25519" }, false, ["verify"]);
  } catch {
    return null;
  }
  const own = await signedOf(receipt);
  return own !== null && crypto.subtle.verify({ name: "Ed25519" }, key, own.signature, own.all);
}
