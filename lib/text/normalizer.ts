/**
 * The normalizers of a tokenizer.json. In the library (0.2.0) they use JavaScript's white space and `$` signs, and a
 * small sigma that depends on what follows. These behave like those of the published tokenizers.
 */
import { compilePattern, type Part } from './library';

export type Normalizer = (text: string) => string;

const CHINESE =
  /[\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B73F}\u{2B740}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/gu;

const lowercase: Normalizer = (text) => text.replaceAll('Σ', 'σ').toLowerCase();

function bert({ clean_text, handle_chinese_chars, strip_accents, lowercase: lower }: Part): Normalizer {
  const steps: Normalizer[] = [];
  if (clean_text) {
    steps.push((text) => text.replace(/(?![\t\n\r])[\0\uFFFD\p{Cc}\p{Cf}\p{Co}]/gu, ''));
    steps.push((text) => text.replace(/\p{White_Space}/gu, ' '));
  }
  if (handle_chinese_chars) steps.push((text) => text.replace(CHINESE, ' $& '));
  if (strip_accents ?? lower) steps.push((text) => text.normalize('NFD').replace(/\p{Mn}/gu, ''));
  if (lower) steps.push(lowercase);
  return inSequence(steps);
}

const inSequence =
  (steps: readonly Normalizer[]): Normalizer =>
  (text) =>
    steps.reduce((done, step) => step(done), text);

/** @throws {Error} for an unknown normalizer. */
export function createNormalizer(part: Part | null | undefined): Normalizer {
  if (part === null || part === undefined) return (text) => text;
  const { type } = part;
  switch (type) {
    case 'Sequence':
      return inSequence((part.normalizers as Part[]).map(createNormalizer));
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return (text) => text.normalize(type);
    case 'Replace': {
      const pattern = compilePattern(part.pattern);
      return (text) => text.replace(pattern, () => String(part.content));
    }
    case 'Prepend':
      return (text) => (text === '' ? '' : String(part.prepend) + text);
    case 'Strip': {
      const left: Normalizer = (text) => text.replace(/^\p{White_Space}+/u, '');
      const right: Normalizer = (text) => text.replace(/(?<!\p{White_Space})\p{White_Space}+$/u, '');
      return inSequence([...(part.strip_left ? [left] : []), ...(part.strip_right ? [right] : [])]);
    }
    case 'Lowercase':
      return lowercase;
    case 'StripAccents':
      return (text) => text.replace(/\p{M}/gu, '');
    case 'BertNormalizer':
      return bert(part);
    default:
      throw new Error(`a normalizer of type ${type} is not known`);
  }
}
