// Features and classes for predicting the era of a passage: its words, and the eras.
export const FEATURES = 2048;
/** First years of the eras. */
export const ERAS = [1790, 1830, 1860, 1890, 1920, 1950, 1980];

export const eraOf = (year) => ERAS.findLastIndex((first) => year >= first);
export const eraName = (era) => `${ERAS[era]}-${(ERAS[era + 1] ?? 2021) - 1}`;

/** FNV-1a. */
function hash(text) {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return value >>> 0;
}

/** Damped counts of hashed words, as a vector of norm 1. */
export function featuresOf(text) {
  const features = new Float32Array(FEATURES);
  for (const word of text.toLowerCase().match(/[a-z]+/g) ?? []) features[hash(word) % FEATURES] += 1;
  const damped = features.map(Math.sqrt);
  const norm = Math.hypot(...damped) || 1;
  return damped.map((value) => value / norm);
}
