// The tokenizer of the sentence encoder: SentencePiece's unigram model. It finds the pieces with the highest total score (Viterbi).
const SPACE = '▁';
const UNKNOWN = 0;
/** Smaller ids are control pieces. */
const FIRST_PIECE = 6;

/** `vocabulary` is a list of [piece, score]. Returns text → ids. */
export function unigramTokenizer(vocabulary) {
  const ids = new Map(vocabulary.map(([piece], id) => [piece, id]).slice(FIRST_PIECE));
  const longest = Math.max(...[...ids.keys()].map((piece) => piece.length));
  return (text) => {
    const symbols = SPACE + text.normalize('NFKC').trim().replaceAll(/\s+/g, SPACE);
    const best = [{ score: 0, id: UNKNOWN, from: 0 }];
    for (let end = 1; end <= symbols.length; end++) {
      // The fallback for a character without a piece.
      best[end] = { score: best[end - 1].score - 100, id: UNKNOWN, from: end - 1 };
      for (let from = Math.max(0, end - longest); from < end; from++) {
        const id = ids.get(symbols.slice(from, end));
        if (id === undefined) continue;
        const score = best[from].score + vocabulary[id][1];
        if (score > best[end].score) best[end] = { score, id, from };
      }
    }
    const found = [];
    for (let at = symbols.length; at > 0; at = best[at].from) found.push(best[at].id);
    return found.reverse();
  };
}
