/** The orders in which a loader gives out rows. */
/**
 * `random`: rows that start anywhere, drawn from the seed, some of them never. `shuffled`: epochs of all rows, seqLen tokens
 * apart, each epoch in another order drawn from the seed. `sequential`: the same rows one after the other; at the end of
 * the file it starts again.
 */
export type RowOrder = 'random' | 'shuffled' | 'sequential';
export const ROW_ORDERS: readonly RowOrder[] = ['random', 'shuffled', 'sequential'];
