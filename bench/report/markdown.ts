/** Tables in Markdown. */

export const table = (header: readonly string[], rows: readonly (readonly string[])[]): string =>
  [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');

export const times = (ratio: number | undefined): string =>
  ratio === undefined || !Number.isFinite(ratio) ? '' : `${ratio.toFixed(2)}×`;

export const percent = (share: number | undefined): string =>
  share === undefined ? '' : `${(100 * share).toFixed(0)} %`;
