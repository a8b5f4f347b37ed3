// Codes of the key app (RFC 6238), made with keys that cannot be read back.

const hashes = { SHA1: "SHA-1", SHA256: "SHA-256", SHA512: "SHA-512" };

// base32 (RFC 4648 §6) as people copy it; nothing if it is none.
export const base32 = (text) => {
  const clean = text.toUpperCase().replace(/[\s-]/g, "").replace(/=+$/, "");
  if (!/^[A-Z2-7]{16,}$/.test(clean)) return null;
  const out = [];
  let bits = 0, value = 0;
  for (const c of clean) {
    value = value << 5 | "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c);
    bits += 5;
    if (bits >= 8) { bits -= 8; out.push(value >> bits & 255); value &= (1 << bits) - 1; }
  }
  return new Uint8Array(out);
};

// parse reads otpauth://totp/LABEL?secret=…; nothing for all else.
export const parse = (text) => {
  if (!text.startsWith("otpauth://totp/") || text.length > 1000) return null;
  try {
    const url = new URL(text);
    const get = (name, other) => url.searchParams.get(name) ?? other;
    const [digits, period, algorithm, seed] = [Number(get("digits", 6)), Number(get("period", 30)), get("algorithm", "SHA1").toUpperCase(), base32(get("secret", ""))];
    if (!seed || ![6, 7, 8].includes(digits) || !(period >= 15 && period <= 120) || !hashes[algorithm]) return null;
    const label = decodeURIComponent(url.pathname.replace(/^\/*(totp\/)?/, ""));
    return { label: label.replace(/^[^:]*:\s*/, "").slice(0, 80), issuer: (get("issuer") ?? (label.includes(":") ? label.split(":")[0] : "")).slice(0, 80), digits, period, algorithm, seed };
  } catch {
    return null;
  }
};

// entry is what is kept of a key.
export const entry = async ({ seed, ...rest }) => ({
  ...rest, id: crypto.randomUUID(), key: await crypto.subtle.importKey("raw", seed, { name: "HMAC", hash: hashes[rest.algorithm] }, false, ["sign"]),
});

// code of an entry at a moment in seconds, and how long it is still good.
export const code = async ({ key, digits, period }, now) => {
  const count = new DataView(new ArrayBuffer(8));
  count.setBigUint64(0, BigInt(Math.floor(now / period)));
  const mac = new DataView(await crypto.subtle.sign("HMAC", key, count.buffer));
  const at = mac.getUint8(mac.byteLength - 1) & 15;
  const number = (mac.getUint32(at) & 0x7fffffff) % 10 ** digits;
  return { code: String(number).padStart(digits, "0"), left: period - Math.floor(now) % period };
};
