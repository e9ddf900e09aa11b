// ptxsim - functional PTX executor with checkers. Prototype (C++17, no dependencies).
// Executes the PTX that nvcc emits, warp by warp, one CTA at a time, on a fake device address space.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>
namespace ptxsim {
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t i32;
typedef int64_t i64;
template <class D, class S>
static inline D bc(S s) {
  D d;
  static_assert(sizeof(D) == sizeof(S), "");
  memcpy(&d, &s, sizeof d);
  return d;
}
static inline float bf2f(u16 h) { return bc<float>((u32)h << 16); }
static inline u16 f2bf(float f) {
  u32 x = bc<u32>(f);
  if ((x & 0x7fffffff) > 0x7f800000) return 0x7fff;
  return (u16)((x + 0x7fff + ((x >> 16) & 1)) >> 16);
}
static inline float h2f(u16 h) {
  u32 s = (h >> 15) & 1, e = (h >> 10) & 31, m = h & 1023;
  u32 x;
  if (e == 0) {
    if (!m)
      x = s << 31;
    else {
      float f = ldexpf((float)m, -24);
      return s ? -f : f;
    }
  } else if (e == 31)
    x = (s << 31) | 0x7f800000 | (m << 13);
  else
    x = (s << 31) | ((e + 112) << 23) | (m << 13);
  return bc<float>(x);
}
static inline u16 f2h(float f) {
  u32 x = bc<u32>(f), s = (x >> 16) & 0x8000;
  x &= 0x7fffffff;
  if (x > 0x7f800000) return 0x7fff;
  if (x >= 0x477ff000) return s | 0x7c00;  // overflow after rounding
  if (x < 0x38800000) {
    float a = bc<float>(x);
    u32 m = (u32)nearbyintf(a * 16777216.f);
    return s | m;
  }
  u32 r = x + 0xfff + ((x >> 13) & 1);
  return s | (u16)((r - 0x38000000) >> 13);
}
// ---------------------------------------------------------------- IR
enum Kind : u8 { KU, KS, KF, KB, KP, KBF, KBF2, KH2, KTF32, KNONE };
struct Ty {
  Kind k = KNONE;
  u8 bits = 0;
};
static Ty parseTy(const std::string& s) {
  static const std::unordered_map<std::string, Ty> m = {
      {"u8", {KU, 8}},      {"u16", {KU, 16}}, {"u32", {KU, 32}},   {"u64", {KU, 64}},      {"s8", {KS, 8}},
      {"s16", {KS, 16}},    {"s32", {KS, 32}}, {"s64", {KS, 64}},   {"b8", {KB, 8}},        {"b16", {KB, 16}},
      {"b32", {KB, 32}},    {"b64", {KB, 64}}, {"b128", {KB, 128}}, {"f16", {KF, 16}},      {"f32", {KF, 32}},
      {"f64", {KF, 64}},    {"pred", {KP, 1}}, {"bf16", {KBF, 16}}, {"bf16x2", {KBF2, 32}}, {"f16x2", {KH2, 32}},
      {"tf32", {KTF32, 32}}};
  auto i = m.find(s);
  return i == m.end() ? Ty{} : i->second;
}
enum OKind : u8 { O_NONE, O_REG, O_PRED, O_IMM, O_SREG, O_SYM, O_MEM, O_VEC, O_LABEL, O_SINK };
enum Space : u8 { SP_GEN, SP_GLOBAL, SP_SHARED, SP_LOCAL, SP_PARAM, SP_CONST };
struct Opd {
  OKind k = O_NONE;
  int idx = -1;
  bool neg = false;
  u64 imm = 0;
  i64 off = 0;
  int base = -1; /*reg or -1*/
  std::string sym;
  std::vector<Opd> v;
  int idx2 = -1; /* |p */
  int pool = -1;
};
enum Op : u16 {
  NOP,
  ADD,
  SUB,
  MUL,
  MAD,
  FMA,
  DIV,
  REM,
  MIN,
  MAX,
  ABS,
  NEG,
  AND,
  OR,
  XOR,
  NOT,
  SHL,
  SHR,
  SHF,
  BFE,
  BFI,
  POPC,
  CLZ,
  BREV,
  PRMT,
  LOP3,
  SELP,
  SETP,
  SET,
  CVT,
  CVTA,
  MOV,
  EX2,
  LG2,
  RCP,
  RSQRT,
  SQRT,
  SIN,
  COS,
  TANH,
  COPYSIGN,
  TESTP,
  SHFL,
  VOTE,
  MATCH,
  REDUX,
  ACTIVEMASK,
  BAR,
  BARWARP,
  ELECT,
  LD,
  ST,
  ATOM,
  RED,
  CPASYNC,
  CPCOMMIT,
  CPWAIT,
  LDMATRIX,
  STMATRIX,
  MMA,
  BRA,
  RET,
  TRAP,
  CALL,
  MBAR_INIT,
  MBAR_ARRIVE,
  MBAR_EXPECT,
  MBAR_TRY,
  MBAR_INVAL,
  CPBULK,
  WGMMA,
  WGMMA_CTL,
  FENCEPROXY,
  ADDC,
  SUBC
};
struct Ins {
  Op op = NOP;
  Ty t, t2;
  u8 vec = 1;
  Space sp = SP_GEN;
  u32 f = 0;
  u8 cmp = 0, bop = 0;
  int guard = -1;
  bool gneg = false;
  int target = -1;
  std::vector<Opd> o;
  int line = 0;
  std::string txt;
  int m1 = 0, m2 = 0;
  u64 cnt = 0;
};
enum Fl : u32 {
  F_HI = 1,
  F_WIDE = 2,
  F_LO = 4,
  F_FTZ = 8,
  F_SAT = 16,
  F_APPROX = 32,
  F_RNI = 64,
  F_RZI = 128,
  F_RMI = 256,
  F_RPI = 512,
  F_WRAP = 1024,
  F_CLAMP = 2048,
  F_LEFT = 4096,
  F_TRANS = 8192,
  F_TO = 16384,
  F_NC = 32768,
  F_RELU = 65536,
  F_ABSX = 1 << 17,
  F_CC = 1 << 18,
  F_PARITY = 1 << 19,
  F_ALIGNED = 1 << 20,
  F_UNI = 1 << 21,
  F_ARRIVE = 1 << 22,
  F_NAN = 1 << 23
};
enum Cmp { EQ, NE, LT, LE, GT, GE, EQU, NEU, LTU, LEU, GTU, GEU, NUM, NANC, LO, LS, HI, HS };
struct Sym {
  Space sp;
  u64 addr;
  u64 size;
};
struct Param {
  std::string name;
  u32 off, size;
};
struct Func {
  std::string name;
  std::vector<Param> params;
  u32 paramBytes = 0;
  std::vector<Ins> code;
  int nreg = 0, npred = 0;
  std::map<std::string, Sym> syms;
  u32 sharedStatic = 0;
  u32 localBytes = 0;
  bool entry = false;
  std::vector<u64> pool;
  int maxntid = 0;
};
// ---------------------------------------------------------------- device memory
struct Alloc {
  u64 base, size;
  std::vector<u8> data, init;
  std::vector<u32> wblk;
  std::vector<u8> sect;
  bool live = true;
  std::string tag;
};
struct Stats {
  u64 winst = 0, linst = 0, mma = 0, mmaFlops = 0, wgmmaFlops = 0, fma = 0, sfu = 0, gldReq = 0, gldSect = 0,
      gldIdeal = 0, gstReq = 0, gstSect = 0, gstIdeal = 0, sldReq = 0, sldWave = 0, sldIdeal = 0, sstReq = 0,
      sstWave = 0, sstIdeal = 0, ldmReq = 0, ldmWave = 0, cpa = 0, cpaSect = 0, cpaWave = 0, cpaIdeal = 0, bar = 0,
      atom = 0, ctas = 0, uniqRd = 0, uniqWr = 0, divBra = 0, bra = 0;
};
struct Report {
  std::string kind, msg;
  u64 n = 1;
};
class Device {
 public:
  std::map<u64, std::unique_ptr<Alloc>> A;
  u64 next = 0x00F0000000000000ull;
  Alloc* last = nullptr;
  u64 liveBytes = 0;
  bool trackRaces = true;
  u64 alloc(u64 n, const char* tag = "") {
    auto a = std::make_unique<Alloc>();
    a->base = next;
    a->size = n;
    a->data.assign(n, 0xFF);
    a->init.assign(n, 0);
    a->wblk.assign(n / 2 + 1, 0);
    a->sect.assign(n / 32 + 2, 0);
    a->tag = tag;
    next += ((n + 255) & ~255ull) + 4096;
    u64 b = a->base;
    A[b] = std::move(a);
    liveBytes += n;
    return b;
  }
  bool free_(u64 p) {
    auto i = A.find(p);
    if (i == A.end()) return false;
    liveBytes -= i->second->size;
    if (last == i->second.get()) last = nullptr;
    A.erase(i);
    return true;
  }
  Alloc* find(u64 p) {
    if (last && p >= last->base && p < last->base + last->size) return last;
    auto i = A.upper_bound(p);
    if (i == A.begin()) return nullptr;
    --i;
    Alloc* a = i->second.get();
    if (p < a->base + a->size) {
      last = a;
      return a;
    }
    return nullptr;
  }
  void up(u64 d, const void* s, u64 n) {
    Alloc* a = find(d);
    if (!a || d + n > a->base + a->size) throw std::runtime_error("memcpy H2D out of bounds");
    memcpy(&a->data[d - a->base], s, n);
    memset(&a->init[d - a->base], 1, n);
  }
  void down(void* d, u64 s, u64 n) {
    Alloc* a = find(s);
    if (!a || s + n > a->base + a->size) throw std::runtime_error("memcpy D2H out of bounds");
    memcpy(d, &a->data[s - a->base], n);
  }
  void set(u64 d, int v, u64 n) {
    Alloc* a = find(d);
    if (!a || d + n > a->base + a->size) throw std::runtime_error("memset out of bounds");
    memset(&a->data[d - a->base], v, n);
    memset(&a->init[d - a->base], 1, n);
  }
};
// ---------------------------------------------------------------- parser
class Module {
 public:
  std::map<std::string, std::unique_ptr<Func>> F;
  std::map<std::string, Sym> gsyms;
  Device* dev;
  std::string target;
  std::string ver;
  std::vector<std::string> tk;
  std::vector<int> tl;
  size_t p = 0;
  static bool idc(char c) { return isalnum((u8)c) || c == '_' || c == '$' || c == '%' || c == '.'; }
  void lex(const std::string& s) {
    size_t i = 0, n = s.size();
    int ln = 1;
    while (i < n) {
      char c = s[i];
      if (c == '\n') {
        ln++;
        i++;
        continue;
      }
      if (isspace((u8)c)) {
        i++;
        continue;
      }
      if (c == '/' && s[i + 1] == '/') {
        while (i < n && s[i] != '\n') i++;
        continue;
      }
      if (c == '/' && s[i + 1] == '*') {
        while (i + 1 < n && !(s[i] == '*' && s[i + 1] == '/')) {
          if (s[i] == '\n') ln++;
          i++;
        }
        i += 2;
        continue;
      }
      if (c == '"') {
        size_t j = i + 1;
        while (j < n && s[j] != '"') j++;
        tk.push_back(s.substr(i, j - i + 1));
        tl.push_back(ln);
        i = j + 1;
        continue;
      }
      if (idc(c)) {
        size_t j = i;
        while (j < n) {
          if (idc(s[j]))
            j++;
          else if (s[j] == ':' && j + 1 < n && s[j + 1] == ':')
            j += 2;
          else
            break;
        }
        tk.push_back(s.substr(i, j - i));
        tl.push_back(ln);
        i = j;
        continue;
      }
      tk.push_back(std::string(1, c));
      tl.push_back(ln);
      i++;
    }
  }
  [[noreturn]] void err(const std::string& m) {
    throw std::runtime_error("PTX line " + std::to_string(p < tl.size() ? tl[p] : -1) + ": " + m);
  }
  const std::string& cur() {
    static std::string e;
    return p < tk.size() ? tk[p] : e;
  }
  bool acc(const char* s) {
    if (cur() == s) {
      p++;
      return true;
    }
    return false;
  }
  void need(const char* s) {
    if (!acc(s)) err(std::string("expected '") + s + "' got '" + cur() + "'");
  }
  static u64 num(const std::string& s) {
    if (s.size() == 10 && s[0] == '0' && (s[1] == 'f' || s[1] == 'F')) return strtoull(s.c_str() + 2, 0, 16);
    if (s.size() == 18 && s[0] == '0' && (s[1] == 'd' || s[1] == 'D')) return strtoull(s.c_str() + 2, 0, 16);
    std::string t = s;
    while (!t.empty() && (t.back() == 'U')) t.pop_back();
    return strtoull(t.c_str(), 0, 0);
  }
  Module(const std::string& src, Device* d) : dev(d) {
    lex(src);
    while (p < tk.size()) top();
  }
  void skipTo(const char* s) {
    while (p < tk.size() && cur() != s) p++;
    p++;
  }
  void top() {
    std::string t = cur();
    if (t == ".version") {
      ver = tk[p + 1];
      p += 2;
      return;
    }
    if (t == ".target") {
      target = tk[p + 1];
      p += 2;
      while (acc(",")) p++;
      return;
    }
    if (t == ".address_size") {
      p += 2;
      return;
    }
    if (t == ".file") {
      p += 3;
      while (acc(",")) p++;
      return;
    }
    if (t == ".loc") {
      int l = tl[p];
      while (p < tk.size() && tl[p] == l) p++;
      return;
    }
    if (t == ".section") {
      skipTo("{");
      int d = 1;
      while (d) {
        if (cur() == "{") d++;
        if (cur() == "}") d--;
        p++;
      }
      return;
    }
    if (t == ".visible" || t == ".weak" || t == ".extern" || t == ".common") {
      p++;
      return;
    }
    if (t == ".global" || t == ".const" || t == ".shared") {
      std::string nm;
      u64 sz;
      u32 al;
      std::vector<u8> init;
      Space sp = t == ".shared" ? SP_SHARED : t == ".const" ? SP_CONST : SP_GLOBAL;
      p++;
      var(nm, sz, al, &init);
      if (sp == SP_SHARED) {
        gsyms[nm] = {SP_SHARED, al, sz}; /* addr assigned per function; al stashed */
      } else {
        u64 a = dev->alloc(std::max<u64>(sz, 1), nm.c_str());
        init.resize(sz);
        dev->up(a, init.data(), sz);
        gsyms[nm] = {sp, a, sz};
      }
      return;
    }
    if (t == ".entry" || t == ".func") {
      func(t == ".entry");
      return;
    }
    if (t == ".pragma" || t == ".alias") {
      skipTo(";");
      return;
    }
    if (t == ";") {
      p++;
      return;
    }
    err("unexpected top-level token " + t);
  }
  void var(std::string& nm, u64& sz, u32& al, std::vector<u8>* init) {
    al = 1;
    Ty ty{};
    u32 vec = 1;
    while (cur()[0] == '.') {
      std::string t = cur();
      p++;
      if (t == ".align") {
        al = num(cur());
        p++;
      } else if (t == ".v2")
        vec = 2;
      else if (t == ".v4")
        vec = 4;
      else if (parseTy(t.substr(1)).k != KNONE)
        ty = parseTy(t.substr(1));
      else if (t == ".attribute") {
        skipTo(")");
      }
    }
    nm = cur();
    p++;
    u64 cnt = 1;
    bool arr = false;
    while (acc("[")) {
      arr = true;
      if (cur() == "]") {
        cnt = 0;
        p++;
      } else {
        cnt *= num(cur());
        p++;
        need("]");
      }
    }
    (void)arr;
    u32 es = ty.bits / 8 * vec;
    if (al < es) al = es;
    sz = cnt * es;
    if (acc("=")) {
      auto put = [&](u64 v) {
        for (u32 b = 0; b < (u32)ty.bits / 8; b++) init->push_back(v >> (8 * b));
      };
      if (acc("{")) {
        while (!acc("}")) {
          bool ng = acc("-");
          u64 v = num(cur());
          p++;
          put(ng ? -v : v);
          acc(",");
        }
      } else {
        put(num(cur()));
        p++;
      }
      if (cnt == 0) sz = init->size();
    }
    need(";");
  }
  // ---- function
  struct Scope {
    std::map<std::string, int> regs;
    std::map<std::string, int> preds;
  };
  Func* fn = nullptr;
  std::vector<Scope> sc;
  std::map<std::string, int> labels;
  std::vector<std::pair<int, std::string>> fix;
  u32 dynAlign = 16;
  void params(std::vector<Param>& ps, u32& bytes) {
    bytes = 0;
    if (!acc("(")) return;
    while (!acc(")")) {
      need(".param");
      u32 al = 1, cnt = 1;
      Ty ty{};
      while (cur()[0] == '.') {
        std::string t = cur();
        p++;
        if (t == ".align") {
          al = num(cur());
          p++;
        } else if (t == ".ptr" || t == ".global" || t == ".shared" || t == ".const" || t == ".local") {
        } else
          ty = parseTy(t.substr(1));
      }
      std::string nm = cur();
      p++;
      if (acc("[")) {
        cnt = num(cur());
        p++;
        need("]");
      }
      u32 es = ty.bits / 8;
      if (al < es) al = es;
      bytes = (bytes + al - 1) / al * al;
      ps.push_back({nm, bytes, es * cnt});
      bytes += es * cnt;
      acc(",");
    }
  }
  void func(bool entry) {
    p++;
    auto f = std::make_unique<Func>();
    f->entry = entry;
    std::vector<Param> rp;
    u32 rb;
    if (cur() == "(") params(rp, rb);
    f->name = cur();
    p++;
    params(f->params, f->paramBytes);
    while (cur()[0] == '.') {
      std::string t = cur();
      p++;
      if (t == ".maxntid" || t == ".reqntid") {
        u32 n = num(cur());
        p++;
        while (acc(",")) {
          n *= num(cur());
          p++;
        }
        f->maxntid = n;
      } else if (t == ".minnctapersm" || t == ".maxnreg" || t == ".maxclusterrank") {
        p++;
      } else if (t == ".explicitcluster" || t == ".noreturn" || t == ".blocksareclusters") {
      } else if (t == ".reqnctapercluster") {
        p++;
        while (acc(",")) p++;
      } else if (t == ".pragma") {
        skipTo(";");
      } else
        err("directive " + t);
    }
    if (acc(";")) return;
    fn = f.get();
    sc.clear();
    labels.clear();
    fix.clear();
    for (auto& g : gsyms)
      if (g.second.sp == SP_SHARED && g.second.size) {
        u32 al = std::max<u64>(1, g.second.addr);
        f->sharedStatic = (f->sharedStatic + al - 1) / al * al;
        f->syms[g.first] = {SP_SHARED, f->sharedStatic, g.second.size};
        f->sharedStatic += g.second.size;
      }
    need("{");
    sc.push_back({});
    body();
    // dynamic shared symbols go after the static ones
    u32 al = 16;
    for (auto& g : gsyms)
      if (g.second.sp == SP_SHARED && !g.second.size) al = std::max<u32>(al, g.second.addr);
    u32 dynBase = (f->sharedStatic + al - 1) / al * al;
    f->sharedStatic = f->sharedStatic ? dynBase : 0;
    for (auto& g : gsyms)
      if (g.second.sp == SP_SHARED && !g.second.size) f->syms[g.first] = {SP_SHARED, dynBase, 0};
    for (auto& x : fix) {
      auto i = labels.find(x.second);
      if (i == labels.end()) err("label " + x.second);
      f->code[x.first].target = i->second;
    }
    for (auto& in : f->code)
      for (auto& o : in.o) link(o);
    Ins e;
    e.op = RET;
    e.txt = "ret(end)";
    f->code.push_back(e);
    F[f->name] = std::move(f);
  }
  void link(Opd& o) {
    if (o.k == O_VEC)
      for (auto& x : o.v) link(x);
    if ((o.k == O_LABEL || o.k == O_MEM) && !o.sym.empty()) {
      for (auto& q : fn->params)
        if (q.name == o.sym) {
          o.off += q.off;
          o.sym = "@param";
          return;
        }
      const Sym* s = nullptr;
      auto i = fn->syms.find(o.sym);
      if (i != fn->syms.end())
        s = &i->second;
      else {
        auto j = gsyms.find(o.sym);
        if (j != gsyms.end()) s = &j->second;
      }
      if (s) {
        o.off += s->addr;
        if (o.k == O_LABEL) {
          o.k = O_IMM;
          o.imm = o.off;
          pool(o);
        }
      }
    }
  }
  void pool(Opd& o) {
    o.pool = (int)fn->pool.size();
    for (int i = 0; i < 32; i++) fn->pool.push_back(o.imm);
  }
  void body() {
    int depth = 1;
    while (depth) {
      std::string t = cur();
      if (p >= tk.size()) err("eof in function");
      if (t == "{") {
        p++;
        sc.push_back({});
        depth++;
        continue;
      }
      if (t == "}") {
        p++;
        sc.pop_back();
        depth--;
        continue;
      }
      if (t == ";") {
        p++;
        continue;
      }
      if (t == ".reg") {
        p++;
        Ty ty{};
        while (cur()[0] == '.') {
          ty = parseTy(cur().substr(1));
          p++;
        }
        do {
          std::string n = cur();
          p++;
          int c = -1;
          if (acc("<")) {
            c = num(cur());
            p++;
            need(">");
          }
          auto def = [&](const std::string& nm) {
            if (ty.k == KP)
              sc.back().preds[nm] = fn->npred++;
            else {
              sc.back().regs[nm] = fn->nreg++;
              if (ty.bits == 128) fn->nreg++;
            }
          };
          if (c < 0)
            def(n);
          else
            for (int i = 0; i < c; i++) def(n + std::to_string(i));
        } while (acc(","));
        need(";");
        continue;
      }
      if (t == ".shared") {
        p++;
        std::string nm;
        u64 sz;
        u32 al;
        std::vector<u8> in;
        var(nm, sz, al, &in);
        fn->sharedStatic = (fn->sharedStatic + al - 1) / al * al;
        fn->syms[nm] = {SP_SHARED, fn->sharedStatic, sz};
        fn->sharedStatic += sz;
        continue;
      }
      if (t == ".local") {
        p++;
        std::string nm;
        u64 sz;
        u32 al;
        std::vector<u8> in;
        var(nm, sz, al, &in);
        fn->localBytes = (fn->localBytes + al - 1) / al * al;
        fn->syms[nm] = {SP_LOCAL, fn->localBytes, sz};
        fn->localBytes += sz;
        continue;
      }
      if (t == ".param") {
        skipTo(";");
        continue;
      }
      if (t == ".loc") {
        int l = tl[p];
        while (tl[p] == l) p++;
        continue;
      }
      if (t == ".pragma") {
        skipTo(";");
        continue;
      }
      if (p + 1 < tk.size() && tk[p + 1] == ":" && t[0] != '@') {
        labels[t] = (int)fn->code.size();
        p += 2;
        continue;
      }
      inst();
    }
  }
  int reg(const std::string& n, bool& pr) {
    for (int i = (int)sc.size() - 1; i >= 0; i--) {
      auto a = sc[i].regs.find(n);
      if (a != sc[i].regs.end()) {
        pr = false;
        return a->second;
      }
      auto b = sc[i].preds.find(n);
      if (b != sc[i].preds.end()) {
        pr = true;
        return b->second;
      }
    }
    return -1;
  }
  static int sreg(const std::string& n) {
    static const std::map<std::string, int> m = {{"%tid.x", 0},
                                                 {"%tid.y", 1},
                                                 {"%tid.z", 2},
                                                 {"%ntid.x", 3},
                                                 {"%ntid.y", 4},
                                                 {"%ntid.z", 5},
                                                 {"%ctaid.x", 6},
                                                 {"%ctaid.y", 7},
                                                 {"%ctaid.z", 8},
                                                 {"%nctaid.x", 9},
                                                 {"%nctaid.y", 10},
                                                 {"%nctaid.z", 11},
                                                 {"%laneid", 12},
                                                 {"%warpid", 13},
                                                 {"%smid", 14},
                                                 {"%clock", 15},
                                                 {"%clock64", 15},
                                                 {"%globaltimer", 15},
                                                 {"%cluster_ctarank", 14},
                                                 {"%cluster_nctarank", 16},
                                                 {"%dynamic_smem_size", 17},
                                                 {"%lanemask_lt", 18},
                                                 {"%lanemask_le", 19},
                                                 {"%lanemask_eq", 20},
                                                 {"%lanemask_ge", 21},
                                                 {"%lanemask_gt", 22},
                                                 {"%clock_hi", 14},
                                                 {"%cluster_ctaid.x", 14},
                                                 {"%cluster_nctaid.x", 16},
                                                 {"%is_explicit_cluster", 14}};
    auto i = m.find(n);
    return i == m.end() ? -1 : i->second;
  }
  Opd operand() {
    Opd o;
    if (acc("!")) {
      o = operand();
      o.neg = true;
      return o;
    }
    if (acc("-")) {
      o = operand();
      if (o.k == O_IMM) {
        o.imm = -o.imm;
        fn->pool.resize(fn->pool.size() - 32);
        pool(o);
      }
      return o;
    }
    if (acc("{")) {
      o.k = O_VEC;
      while (!acc("}")) {
        o.v.push_back(operand());
        acc(",");
      }
      return o;
    }
    if (acc("(")) {
      o.k = O_VEC;
      while (!acc(")")) {
        o.v.push_back(operand());
        acc(",");
      }
      return o;
    }
    if (acc("[")) {
      o.k = O_MEM;
      Opd b = operand();
      if (b.k == O_REG)
        o.base = b.idx;
      else if (b.k == O_IMM)
        o.off = b.imm;
      else if (b.k == O_LABEL) {
        o.sym = b.sym;
        o.off = b.off;
      } else
        err("mem base");
      while (cur() == "+" || cur() == "-") {
        bool n = cur() == "-";
        p++;
        if (acc("-")) n = !n;
        i64 v = (i64)num(cur());
        p++;
        o.off += n ? -v : v;
      }
      if (acc(",")) {
        o.v.push_back(operand());
      }
      need("]");
      return o;
    }
    std::string t = cur();
    p++;
    if (t == "_") {
      o.k = O_SINK;
      return o;
    }
    if (isdigit((u8)t[0])) {
      o.k = O_IMM;
      o.imm = num(t);
      pool(o);
      return o;
    }
    bool pr = false;
    int r = reg(t, pr);
    if (r < 0 && t.size() > 2 && t[t.size() - 2] == '.' && (r = reg(t.substr(0, t.size() - 2), pr)) >= 0)
      err("vector reg component");
    if (r >= 0) {
      o.k = pr ? O_PRED : O_REG;
      o.idx = r;
      if (acc("|")) {
        std::string q = cur();
        p++;
        if (q != "_") {
          bool pp;
          o.idx2 = reg(q, pp);
        }
      }
      return o;
    }
    if (t[0] == '%') {
      int s = sreg(t);
      if (s < 0) err("special register " + t);
      o.k = O_SREG;
      o.idx = s;
      return o;
    }
    if (t == "WARP_SZ") {
      o.k = O_IMM;
      o.imm = 32;
      pool(o);
      return o;
    }
    o.k = O_LABEL;
    o.sym = t;
    if (cur() == "+") {
      p++;
      o.off = num(cur());
      p++;
    }
    return o;
  }
  void inst() {
    Ins in;
    in.line = tl[p];
    size_t s0 = p;
    if (acc("@")) {
      if (acc("!")) in.gneg = true;
      bool pr;
      in.guard = reg(cur(), pr);
      if (in.guard < 0 || !pr) err("guard");
      p++;
    }
    std::string full = cur();
    p++;
    std::vector<std::string> q;
    {
      size_t a = 0;
      while (true) {
        size_t b = full.find('.', a);
        q.push_back(full.substr(a, b - a));
        if (b == std::string::npos) break;
        a = b + 1;
      }
    }
    if (cur() != ";") {
      do in.o.push_back(operand());
      while (acc(","));
    }
    need(";");
    for (size_t i = s0; i < p - 1; i++) {
      in.txt += tk[i];
      if (i + 1 < p - 1 && idc(tk[i].back()) && idc(tk[i + 1][0]))
        in.txt += ' ';
      else if (tk[i] == ",")
        in.txt += ' ';
    }
    decode(in, q, full);
    if (in.op == BRA) fix.push_back({(int)fn->code.size(), in.o.back().sym});
    fn->code.push_back(std::move(in));
  }
  void decode(Ins& in, std::vector<std::string>& q, const std::string& full) {
    const std::string& o = q[0];
    auto has = [&](const char* s) {
      for (size_t i = 1; i < q.size(); i++)
        if (q[i] == s) return true;
      return false;
    };
    std::vector<Ty> ts;
    for (size_t i = 1; i < q.size(); i++) {
      const std::string& s = q[i];
      Ty t = parseTy(s);
      if (t.k != KNONE) {
        ts.push_back(t);
        continue;
      }
      if (s == "hi")
        in.f |= F_HI;
      else if (s == "lo")
        in.f |= F_LO;
      else if (s == "wide")
        in.f |= F_WIDE;
      else if (s == "ftz")
        in.f |= F_FTZ;
      else if (s == "sat")
        in.f |= F_SAT;
      else if (s == "approx")
        in.f |= F_APPROX;
      else if (s == "rni")
        in.f |= F_RNI;
      else if (s == "rzi" || s == "rz")
        in.f |= F_RZI;
      else if (s == "rmi" || s == "rm")
        in.f |= F_RMI;
      else if (s == "rpi" || s == "rp")
        in.f |= F_RPI;
      else if (s == "wrap")
        in.f |= F_WRAP;
      else if (s == "clamp")
        in.f |= F_CLAMP;
      else if (s == "trans")
        in.f |= F_TRANS;
      else if (s == "to")
        in.f |= F_TO;
      else if (s == "nc")
        in.f |= F_NC;
      else if (s == "relu")
        in.f |= F_RELU;
      else if (s == "cc")
        in.f |= F_CC;
      else if (s == "parity")
        in.f |= F_PARITY;
      else if (s == "aligned")
        in.f |= F_ALIGNED;
      else if (s == "NaN")
        in.f |= F_NAN;
      else if (s == "v2")
        in.vec = 2;
      else if (s == "v4")
        in.vec = 4;
      else if (s == "v8")
        in.vec = 8;
      else if (s == "x2")
        in.vec = 2;
      else if (s == "x4")
        in.vec = 4;
      else if (s == "global")
        in.sp = SP_GLOBAL;
      else if (s.rfind("shared", 0) == 0) {
        if (!(o == "cp" && in.sp != SP_GEN)) in.sp = SP_SHARED;
      } else if (s == "local")
        in.sp = SP_LOCAL;
      else if (s == "param" || s.rfind("param::", 0) == 0)
        in.sp = SP_PARAM;
      else if (s == "const")
        in.sp = SP_CONST;
    }
    if (ts.size() > 0) in.t = ts[0];
    if (ts.size() > 1)
      in.t2 = ts[1];
    else
      in.t2 = in.t;
    static const std::unordered_map<std::string, Op> S = {{"add", ADD},
                                                          {"sub", SUB},
                                                          {"mul", MUL},
                                                          {"mad", MAD},
                                                          {"fma", FMA},
                                                          {"div", DIV},
                                                          {"rem", REM},
                                                          {"min", MIN},
                                                          {"max", MAX},
                                                          {"abs", ABS},
                                                          {"neg", NEG},
                                                          {"and", AND},
                                                          {"or", OR},
                                                          {"xor", XOR},
                                                          {"not", NOT},
                                                          {"shl", SHL},
                                                          {"shr", SHR},
                                                          {"shf", SHF},
                                                          {"bfe", BFE},
                                                          {"bfi", BFI},
                                                          {"popc", POPC},
                                                          {"clz", CLZ},
                                                          {"brev", BREV},
                                                          {"prmt", PRMT},
                                                          {"lop3", LOP3},
                                                          {"selp", SELP},
                                                          {"setp", SETP},
                                                          {"set", SET},
                                                          {"cvt", CVT},
                                                          {"cvta", CVTA},
                                                          {"mov", MOV},
                                                          {"ex2", EX2},
                                                          {"lg2", LG2},
                                                          {"rcp", RCP},
                                                          {"rsqrt", RSQRT},
                                                          {"sqrt", SQRT},
                                                          {"sin", SIN},
                                                          {"cos", COS},
                                                          {"tanh", TANH},
                                                          {"copysign", COPYSIGN},
                                                          {"testp", TESTP},
                                                          {"shfl", SHFL},
                                                          {"vote", VOTE},
                                                          {"match", MATCH},
                                                          {"redux", REDUX},
                                                          {"activemask", ACTIVEMASK},
                                                          {"ld", LD},
                                                          {"ldu", LD},
                                                          {"st", ST},
                                                          {"atom", ATOM},
                                                          {"red", RED},
                                                          {"ldmatrix", LDMATRIX},
                                                          {"stmatrix", STMATRIX},
                                                          {"mma", MMA},
                                                          {"bra", BRA},
                                                          {"ret", RET},
                                                          {"exit", RET},
                                                          {"trap", TRAP},
                                                          {"call", CALL},
                                                          {"elect", ELECT},
                                                          {"addc", ADDC},
                                                          {"subc", SUBC},
                                                          {"membar", NOP},
                                                          {"fence", NOP},
                                                          {"prefetch", NOP},
                                                          {"prefetchu", NOP},
                                                          {"nanosleep", NOP},
                                                          {"setmaxnreg", NOP},
                                                          {"griddepcontrol", NOP},
                                                          {"isspacep", NOP},
                                                          {"applypriority", NOP},
                                                          {"discard", NOP},
                                                          {"brkpt", NOP},
                                                          {"pmevent", NOP}};
    auto it = S.find(o);
    if (it != S.end())
      in.op = it->second;
    else if (o == "bar" || o == "barrier") {
      if (has("warp"))
        in.op = BARWARP;
      else if (has("cluster"))
        in.op = NOP;
      else {
        in.op = BAR;
        if (has("arrive")) in.f |= F_ARRIVE;
        if (has("red")) err("bar.red");
      }
    } else if (o == "cp") {
      if (has("bulk")) {
        if (has("commit_group") || has("wait_group"))
          in.op = NOP;
        else if (has("tensor"))
          err("unsupported " + full);
        else
          in.op = CPBULK;
      } else if (has("commit_group"))
        in.op = CPCOMMIT;
      else if (has("wait_group")) {
        in.op = CPWAIT;
        in.m1 = (int)in.o[0].imm;
      } else if (has("wait_all")) {
        in.op = CPWAIT;
        in.m1 = 0;
        in.m2 = 1;
      } else
        in.op = CPASYNC;
    } else if (o == "mbarrier") {
      if (has("init"))
        in.op = MBAR_INIT;
      else if (has("expect_tx") && has("arrive"))
        in.op = MBAR_EXPECT;
      else if (has("arrive"))
        in.op = MBAR_ARRIVE;
      else if (has("try_wait") || has("test_wait"))
        in.op = MBAR_TRY;
      else if (has("inval"))
        in.op = MBAR_INVAL;
      else
        err("unsupported " + full);
    } else if (o == "wgmma") {
      if (has("mma_async")) {
        in.op = WGMMA;
      } else {
        in.op = WGMMA_CTL;
        in.m1 = has("commit_group") ? 1 : has("wait_group") ? 2 : 0;
      }
    } else
      err("unsupported instruction " + full);
    if (in.op == NOP && o == "isspacep") err("isspacep");
    if (o == "fence" && has("proxy")) in.op = FENCEPROXY;
    if (o == "shf") {
      if (has("l")) in.f |= F_LEFT;
    }
    if (in.op == SETP || in.op == SET) {
      static const std::map<std::string, int> C = {
          {"eq", EQ},   {"ne", NE},    {"lt", LT},   {"le", LE},   {"gt", GT},   {"ge", GE},
          {"equ", EQU}, {"neu", NEU},  {"ltu", LTU}, {"leu", LEU}, {"gtu", GTU}, {"geu", GEU},
          {"num", NUM}, {"nan", NANC}, {"lo", LO},   {"ls", LS},   {"hi", HI},   {"hs", HS}};
      in.f &= ~(F_LO | F_HI);
      for (auto& s : q) {
        auto c = C.find(s);
        if (c != C.end()) in.cmp = c->second;
        if (s == "and") in.bop = 1;
        if (s == "or") in.bop = 2;
        if (s == "xor") in.bop = 3;
      }
      if (in.op == SETP) in.t = ts.back();
    }
    if (in.op == VOTE) {
      in.m1 = has("ballot") ? 0 : has("any") ? 1 : has("all") ? 2 : 3;
    }
    if (in.op == SHFL) {
      in.m1 = has("up") ? 0 : has("down") ? 1 : has("bfly") ? 2 : 3;
    }
    if (in.op == REDUX || in.op == ATOM || in.op == RED) {
      const char* n[] = {"add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec"};
      in.m1 = -1;
      for (int i = 0; i < 10; i++)
        if (has(n[i])) in.m1 = i;
      in.t = ts.back();
      if (in.op != REDUX && has("noftz")) {
      }
    }
    if (in.op == PRMT) {
      if (q.size() > 2 && q[1] != "b32") err("prmt mode " + full);
    }
    if (in.op == MMA) {
      in.m1 = has("m16n8k16") ? 16 : has("m16n8k8") ? 8 : has("m16n8k32") ? 32 : 0;
      if (!in.m1) err("unsupported " + full);
      in.t = ts[0];
      in.t2 = ts[1];
    }
    if (in.op == LDMATRIX || in.op == STMATRIX) {
      if (!has("m8n8")) err("unsupported " + full);
    }
    if (in.op == TESTP) {
      in.m1 = has("finite") ? 0 : has("infinite") ? 1 : has("number") ? 2 : has("notanumber") ? 3 : 4;
    }
    if (in.op == WGMMA) {
      int m = 0, n = 0, k = 0;
      for (auto& s : q)
        if (sscanf(s.c_str(), "m%dn%dk%d", &m, &n, &k) == 3) break;
      in.m1 = n;
      in.m2 = k;
      in.t = ts[0];
      in.t2 = ts[1];
    }
  }
};
}  // namespace ptxsim
#include "ptxexec.hpp"
