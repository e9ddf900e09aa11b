/** Matrices in plain arrays. */

/** The transpose of each of the consecutive matrices [rows, columns] in `data`. */
export function transposed(data: ArrayLike<number>, rows: number, columns: number): Float32Array {
  const result = new Float32Array(data.length);
  for (let at = 0; at < data.length; at += rows * columns)
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) result[at + j * rows + i] = data[at + i * columns + j]!;
  return result;
}
