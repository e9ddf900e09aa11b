/** Shapes and numbers of elements. Every size of a tensor is checked here, in whole numbers that cannot wrap. */
import { formatShape, OptionError, ShapeError } from './errors';

/** Sizes of the dimensions, outermost first. An empty shape is a scalar. */
export type Shape = readonly number[];

/** Elements that a tensor may have: a double counts no further without gaps, and their bytes fit 64 bits. */
export const MOST_ELEMENTS = Number.MAX_SAFE_INTEGER;

/** Number of elements of a shape. */
export function numel(shape: Shape): number {
  let product = 1;
  for (let i = 0; i < shape.length; i++) product *= shape[i]!;
  return product;
}

/** The latest result: it is frozen, so it need not be checked again on its way into a tensor. */
let latest: Shape = Object.freeze([]);

/**
 * A frozen copy, which nobody can change after it was checked.
 * @throws {OptionError} unless every size is a whole number of at least 0. @throws {ShapeError} for more than 2^53 - 1
 * elements, also where another size is 0: then strides would not fit.
 */
export function checkedShape(where: string, shape: unknown): Shape {
  if (shape === latest) return latest;
  if (!Array.isArray(shape)) throw new OptionError(where, 'a shape of whole numbers', shape);
  const sizes: number[] = [];
  let product = 1;
  const rank = shape.length;
  for (let i = 0; i < rank; i++) {
    const size: unknown = shape[i];
    if (!isSize(size)) throw new OptionError(where, 'a shape of whole numbers', shape);
    sizes.push(size);
    if (size > 0) product *= size;
    if (product > MOST_ELEMENTS)
      throw new ShapeError(where, `a shape of at most ${MOST_ELEMENTS} elements`, formatShape(shape));
  }
  latest = Object.freeze(sizes);
  return latest;
}

/** A shape with another last size. Spreading a frozen array is slow. */
export function withLast(shape: Shape, last: number): number[] {
  const sizes: number[] = [];
  for (let i = 0; i + 1 < shape.length; i++) sizes.push(shape[i]!);
  sizes.push(last);
  return sizes;
}

/** Whether it is a whole number of at least 0. */
export const isSize = (size: unknown): size is number => Number.isSafeInteger(size) && (size as number) >= 0;
