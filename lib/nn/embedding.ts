import { checkInstance, checkInteger } from '../errors';
import { embedding } from '../ops';
import { Generator } from '../random';
import type { Tensor } from '../tensor';
import { INIT_STD } from './init';
import { Module } from './module';

/** Parameter: `weight` [rows, features], from N(0, 0.02²). */
export class Embedding extends Module {
  /** The table [rows, features]. */
  readonly weight: Tensor;

  constructor(rows: number, features: number, generator: Generator = new Generator(0)) {
    super();
    checkInteger('Embedding: rows', rows);
    checkInteger('Embedding: features', features);
    checkInstance('Embedding: generator', generator, Generator);
    this.weight = this.addParameter('weight', generator.normal([rows, features], 0, INIT_STD));
  }

  /** ids [...] int32 → [..., features]. */
  forward(ids: Tensor): Tensor {
    this.checkAlive('forward');
    return embedding(ids, this.weight);
  }
}
