// Which era a passage was written in: its words as features, eras as classes.
export const FEATURES = 1024;
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

/** Hashed words and pairs of words, as a vector of length 1. */
export function featuresOf(text) {
  const words = text.toLowerCase().match(/[a-z]+/g) ?? [];
  const features = new Float32Array(FEATURES);
  words.forEach((word, i) => {
    features[hash(word) % FEATURES] += 1;
    if (i > 0) features[hash(`${words[i - 1]} ${word}`) % FEATURES] += 1;
  });
  const norm = Math.hypot(...features) || 1;
  return features.map((value) => value / norm);
}
