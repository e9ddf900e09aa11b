import { kernels } from '../../lib/kernels';
import { expectClose, expectSameOnAnyThreadCount, onEveryIsa, randomArray, randomIds } from './support';

onEveryIsa(() => {
  test.each([
    [1, 1, 1],
    [7, 3, 5],
    [100, 11, 33],
    [1000, 50, 200],
    [3, 400, 129],
  ])('%i ids into [%i, %i]', (n, rows, features) => {
    const ids = randomIds(n, 1, rows);
    const [table, dy] = [randomArray(rows * features, 2), randomArray(n * features, 3)];
    const y = new Float32Array(n * features);
    kernels.embedding_forward({ ids, table, y, n, rows, features });
    expect(y).toEqual(dy.map((_, at) => table[ids[Math.floor(at / features)]! * features + (at % features)]!));

    const expected = new Float64Array(rows * features);
    dy.forEach((value, at) => {
      expected[ids[Math.floor(at / features)]! * features + (at % features)]! += value;
    });
    const dtable = new Float32Array(rows * features).fill(9);
    kernels.embedding_backward({ dy, ids, dtable, n, rows, features });
    expectClose(dtable, expected, 1e-5);
    expectSameOnAnyThreadCount(() => {
      kernels.embedding_backward({ dy, ids, dtable, n, rows, features });
      return dtable;
    });
  });

  test.each([3, -1, 2 ** 31 - 1])('id %i is refused before anything is written', (id) => {
    const y = new Float32Array(4).fill(7);
    const refused = expect.objectContaining({
      code: 'ERR_RANGE',
      message: `embedding: id ${id} at position 1 is outside 0 .. 2`,
    });
    const ids = Int32Array.of(0, id);
    expect(() => kernels.embedding_forward({ ids, table: new Float32Array(6), y, n: 2, rows: 3, features: 2 })).toThrow(
      refused,
    );
    expect(y).toEqual(new Float32Array(4).fill(7));
    const dtable = new Float32Array(6).fill(7);
    expect(() => kernels.embedding_backward({ dy: y, ids, dtable, n: 2, rows: 3, features: 2 })).toThrow(refused);
    expect(dtable).toEqual(new Float32Array(6).fill(7));
  });
});
