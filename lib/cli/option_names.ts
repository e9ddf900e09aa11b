/** The options of the command line that set what the library calls otherwise. */

/** Where the name of the option is not that of the value. */
const OTHERWISE: Readonly<Record<string, string>> = {
  nLayers: '--layers',
  nHeads: '--heads',
  nKvHeads: '--kv-heads',
  'head size': '--head-size',
  dFF: '--d-ff',
  bias: '--no-bias',
  tieEmbeddings: '--untied',
  learningRate: '--lr',
  minLearningRate: '--min-lr',
  gradientAccumulation: '--accumulate',
  'skip.nonFinite': '--skip-non-finite',
  'skip.zScore': '--skip-z-score',
  'guidance.part': '--guided-part',
  'guidance.schedule': '--alpha-schedule',
  'guidance.form': '--guidance-form',
};

/** The option that sets a value. */
export const optionOf = (name: string): string =>
  OTHERWISE[name] ?? `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/**
 * The library's message about a value, with the option in place of its own name for it, if that option was given.
 * @param args of the command line.
 */
export function withOptionName(message: string, args: readonly string[]): string {
  const [, where, rest] = /^(.+?): (expected .*)$/s.exec(message) ?? [];
  const option = optionOf(where?.split(': ').at(-1) ?? '');
  return args.some((arg) => arg === option || arg.startsWith(`${option}=`)) ? `${option}: ${rest}` : message;
}
