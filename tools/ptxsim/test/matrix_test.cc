// ldmatrix, stmatrix, movmatrix and mma against products of whole matrices.
#include <cmath>

#include "check.h"

namespace ptxsim {
namespace {

// Small integers: their products and sums are exact in every format.
float value(u32 i, u32 j, u32 seed) { return static_cast<float>(static_cast<int>((i * 7 + j * 13 + seed) % 17) - 8); }

enum class Format { bf16, f16, tf32 };

u64 encode(Format format, float x) {
  return format == Format::bf16 ? float_to_bf16(x) : format == Format::f16 ? float_to_half(x) : f32(x);
}

/** D = A B + C by the instruction, from fragments laid out as the PTX manual draws them. */
void check_mma(const std::string& shape, const std::string& type, Format format, u32 depth) {
  const u32 per_register = format == Format::tf32 ? 1 : 2, registers_a = depth / (2 * per_register),
            registers_b = registers_a / 2;
  const auto registers = [](const std::string& name, u32 count) {
    std::string text = "{";
    for (u32 i = 0; i < count; ++i) text += (i ? ", %" : "%") + name + std::to_string(i);
    return text + "}";
  };
  std::string body =
      ".reg .b32 %a<4>, %b<2>, %c<4>, %i; .reg .b64 %in, %out, %at; ld.param.u64 %in, [p0]; ld.param.u64 %out, [p1];"
      "mov.u32 %i, %tid.x; mad.wide.u32 %at, %i, 80, %in;";
  for (u32 i = 0; i < 10; ++i)
    body += "ld.global.u32 %" +
            std::string(i < 4   ? "a"
                        : i < 6 ? "b"
                                : "c") +
            std::to_string(i < 4   ? i
                           : i < 6 ? i - 4
                                   : i - 6) +
            ", [%at+" + std::to_string(8 * i) + "];";
  body += "mma.sync.aligned." + shape + ".row.col.f32." + type + "." + type + ".f32 " + registers("c", 4) + ", " +
          registers("a", registers_a) + ", " + registers("b", registers_b) + ", " + registers("c", 4) +
          "; mad.wide.u32 %at, %i, 32, %out;";
  for (int i = 0; i < 4; ++i) body += "st.global.u64 [%at+" + std::to_string(8 * i) + "], %c" + std::to_string(i) + ";";
  Kernel kernel(body + "ret;");
  std::vector<u64> fragments(kLanes * 10);
  for (u32 lane = 0; lane < kLanes; ++lane) {
    const u32 group = lane / 4, thread = lane % 4;
    const auto pack = [&](u32 row, u32 column, u32 row_step, u32 column_step, u32 seed) {
      u64 bits = 0;
      for (u32 e = 0; e < per_register; ++e)
        bits |= encode(format, value(row + e * row_step, column + e * column_step, seed)) << (16 * e);
      return bits;
    };
    for (u32 r = 0; r < registers_a; ++r)
      fragments[10 * lane + r] = pack(group + 8 * (r % 2), thread * per_register + r / 2 * 4 * per_register, 0, 1, 1);
    for (u32 r = 0; r < registers_b; ++r)
      fragments[10 * lane + 4 + r] = pack(thread * per_register + r * 4 * per_register, group, 1, 0, 2);
    for (u32 r = 0; r < 4; ++r) fragments[10 * lane + 6 + r] = f32(value(group + 8 * (r / 2), 2 * thread + r % 2, 3));
  }
  const u64 out = kernel.empty(kLanes * 32);
  kernel.run({kernel.buffer(fragments), out});
  if (kernel.found("")) fail(__FILE__, __LINE__, kernel.describe());
  const std::vector<u64> result = kernel.read(out, kLanes * 4);
  for (u32 i = 0; i < 16; ++i) {
    for (u32 j = 0; j < 8; ++j) {
      float expected = value(i, j, 3);
      for (u32 k = 0; k < depth; ++k) expected += value(i, k, 1) * value(k, j, 2);
      CHECK(get<float>(result[(i % 8 * 4 + j / 2) * 4 + i / 8 * 2 + j % 2]) == expected);
    }
  }
  CHECK(kernel.counters.mma_flops == 2 * 16 * 8 * depth);
}

TEST(mma) {
  check_mma("m16n8k16", "bf16", Format::bf16, 16);
  check_mma("m16n8k8", "bf16", Format::bf16, 8);
  check_mma("m16n8k16", "f16", Format::f16, 16);
  check_mma("m16n8k8", "f16", Format::f16, 8);
  check_mma("m16n8k8", "tf32", Format::tf32, 8);
  check_mma("m16n8k4", "tf32", Format::tf32, 4);
}

// Four 8 x 8 tiles whose element (r, c) of tile t is 64 t + 8 r + c; row r of tile t at byte 128 t + 16 r.
const std::string kTiles = ".shared .align 16 .b8 tiles[512];";
const std::string kFill =
    ".reg .b32 %i, %s, %v<4>, %w<4>; .reg .b64 %out, %at; ld.param.u64 %out, [p1]; mov.u32 %i, %tid.x;"
    "mov.u32 %s, tiles; mad.lo.u32 %s, %i, 16, %s; mul.lo.u32 %w0, %i, 0x00080008; add.u32 %w0, %w0, 0x00010000;"
    "add.u32 %w1, %w0, 0x00020002; add.u32 %w2, %w0, 0x00040004; add.u32 %w3, %w0, 0x00060006;"
    "st.shared.v4.u32 [%s], {%w0, %w1, %w2, %w3}; bar.warp.sync -1;";

std::vector<u64> load_tiles(const std::string& modifiers, u32 count) {
  std::string list;
  for (u32 i = 0; i < count; ++i) list += (i ? ", %v" : "%v") + std::to_string(i);
  std::string body = kFill + "ldmatrix.sync.aligned.m8n8." + modifiers + ".shared.b16 {" + list +
                     "}, [%s]; mad.wide.u32 %at, %i, 32, %out;";
  for (u32 i = 0; i < count; ++i)
    body += "st.global.u64 [%at+" + std::to_string(8 * i) + "], %v" + std::to_string(i) + ";";
  Kernel kernel(body + "ret;", kTiles);
  const u64 out = kernel.empty(kLanes * 32);
  kernel.run({0, out});
  if (kernel.found("")) fail(__FILE__, __LINE__, kernel.describe());
  return kernel.read(out, kLanes * 4);
}

TEST(ldmatrix) {
  for (const u32 count : {1u, 2u, 4u}) {
    const std::string x = "x" + std::to_string(count);
    const std::vector<u64> plain = load_tiles(x, count), transposed = load_tiles(x + ".trans", count);
    for (u32 lane = 0; lane < kLanes; ++lane) {
      for (u32 t = 0; t < count; ++t) {
        const u64 row = lane / 4, column = lane % 4 * 2, at = 64 * t;
        CHECK(plain[4 * lane + t] == ((at + 8 * row + column) | (at + 8 * row + column + 1) << 16));
        CHECK(transposed[4 * lane + t] == ((at + 8 * column + row) | (at + 8 * (column + 1) + row) << 16));
      }
    }
  }
}

TEST(stmatrix_and_movmatrix) {
  // Transposed in registers or on the way, and stored where it was: element (r, c) becomes 8 c + r.
  for (const std::string text :
       {"stmatrix.sync.aligned.m8n8.x1.trans.shared.b16 [%s], {%v0};",
        "movmatrix.sync.aligned.m8n8.trans.b16 %v0, %v0; stmatrix.sync.aligned.m8n8.x1.shared.b16 [%s], {%v0};"}) {
    Kernel kernel(kFill + "ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%v0}, [%s]; bar.warp.sync -1;" + text +
                      "bar.warp.sync -1; mov.u32 %s, tiles; mad.lo.u32 %s, %i, 2, %s; ld.shared.u16 %v1, [%s];"
                      "mad.wide.u32 %at, %i, 8, %out; st.global.u64 [%at], %v1; ret;",
                  kTiles);
    const u64 out = kernel.empty(kLanes * 8);
    kernel.run({0, out});
    if (kernel.found("")) fail(__FILE__, __LINE__, kernel.describe());
    const std::vector<u64> result = kernel.read(out, kLanes);
    for (u32 i = 0; i < kLanes; ++i) CHECK(result[i] == i % 8 * 8 + i / 8);
  }
}

}  // namespace
}  // namespace ptxsim
