#pragma once
namespace ptxsim {
static const u64 SH_WIN = 0x00E1000000000000ull, LO_WIN = 0x00E2000000000000ull;
struct Dim3 {
  u32 x = 1, y = 1, z = 1;
};
struct Config {
  bool races = true, uninit = true, perf = true;
  int sched = 0; /*0 in order,1 reverse,2 random*/
  u64 seed = 1;
  u64 maxInst = 0;
  bool mmaF64 = true;
  int maxCtas = 0;
};
struct Launch {
  Stats st;
  std::vector<Report> rep;
  bool ok() const { return rep.empty(); }
};
struct Fault : std::runtime_error {
  using runtime_error::runtime_error;
};

class Exec {
 public:
  Device& D;
  Module& M;
  Func& F;
  Config C;
  Launch L;
  Dim3 G, B;
  u32 dyn;
  std::vector<u8> par;
  u32 nt, nw;
  Dim3 cta;
  u32 ctaLin = 0;
  // shared memory + shadow
  std::vector<u8> sh, shI;
  struct WCell {
    u32 clk;
    u8 w, lane;
    u8 pend;
    u8 pad;
    u32 sync;
    u32 pf;
  };
  std::vector<WCell> wc;
  struct RCell {
    u32 clk;
    u32 sync;
    u8 lane;
    u8 multi;
    u16 v;
  };
  std::vector<RCell> rc;  // [granule*nw]
  struct CpOp {
    u32 lane;
    u32 dst;
    u64 src;
    u32 n, srcn;
  };
  struct CpG {
    u32 mask;
    std::vector<CpOp> ops;
  };
  struct Grp {
    int pc;
    u32 mask;
  };
  struct Warp {
    std::vector<u64> R;
    std::vector<u32> P;
    std::vector<Grp> g;
    u64 s[23][32];
    u32 live = 0;
    int id = 0;
    bool atBar = false;
    int barId = 0;
    u32 barCnt = 0;
    bool barArr = false;
    std::vector<u32> vc;
    u32 sync = 1;
    std::vector<u8> loc;
    std::vector<CpOp> pend;
    std::vector<CpG> cg;
    bool done = false;
    bool spin = false;
    u32 exited = 0;
    u32 pfence = 0;
    bool wgAny = false;
    std::vector<u8> wgp;
    std::vector<int> wgOpen;
    std::vector<std::vector<int>> wgG;
  };
  std::vector<Warp> W;
  struct Mbar {
    u32 phase = 0, expect = 0, arrived = 0;
    i64 tx = 0;
    std::vector<u32> vc;
    bool valid = false;
  };
  std::map<u32, Mbar> mb;
  std::map<int, std::vector<u32>> namedVC;
  std::map<std::string, size_t> repIdx;
  u64 dropped = 0;
  u64 rng;
  bool progress = false;
  std::vector<u64> touchedAllocs;
  Exec(Device& d, Module& m, Func& f, const Config& c) : D(d), M(m), F(f), C(c), rng(c.seed) {}
  void report(const Ins* in, const std::string& kind, const std::string& msg) {
    std::string key = kind + "@" + (in ? std::to_string(in->line) : "");
    auto i = repIdx.find(key);
    if (i != repIdx.end()) {
      L.rep[i->second].n++;
      return;
    }
    if (L.rep.size() >= 40) {
      dropped++;
      return;
    }
    repIdx[key] = L.rep.size();
    char b[160];
    snprintf(b, sizeof b, " [cta %u,%u,%u; ptx line %d: ", cta.x, cta.y, cta.z, in ? in->line : 0);
    L.rep.push_back({kind, msg + b + (in ? in->txt.substr(0, 110) : "") + "]", 1});
  }
  static std::string hx(u64 v) {
    char b[32];
    snprintf(b, 32, "0x%llx", (unsigned long long)v);
    return b;
  }
  void run(Dim3 g, Dim3 b, u32 dynS, const std::vector<u8>& params) {
    traceInit();
    G = g;
    B = b;
    dyn = dynS;
    par = params;
    nt = b.x * b.y * b.z;
    nw = (nt + 31) / 32;
    if (nt == 0 || nt > 1024) throw Fault("invalid block size");
    if (F.maxntid && nt > (u32)F.maxntid) throw Fault("block larger than __launch_bounds__");
    u32 ss = F.sharedStatic + dyn;
    sh.resize(ss);
    shI.resize(ss);
    W.resize(nw);
    u64 tot = (u64)G.x * G.y * G.z;
    for (auto& a : D.A) std::fill(a.second->wblk.begin(), a.second->wblk.end(), 0u);
    for (auto& a : D.A) std::fill(a.second->sect.begin(), a.second->sect.end(), 0);
    u64 lim = C.maxCtas ? std::min<u64>(tot, C.maxCtas) : tot;
    for (u64 i = 0; i < lim; i++) {
      u64 k = C.sched == 1 ? tot - 1 - i : i;
      cta.x = k % G.x;
      cta.y = k / G.x % G.y;
      cta.z = k / G.x / G.y;
      ctaLin = (u32)k + 1;
      runCta();
      L.st.ctas++;
    }
    for (auto& a : D.A)
      for (u8 s : a.second->sect) {
        L.st.uniqRd += s & 1;
        L.st.uniqWr += (s >> 1) & 1;
      }
  }
  void runCta() {
    std::fill(sh.begin(), sh.end(), 0xFF);
    std::fill(shI.begin(), shI.end(), 0);
    mb.clear();
    namedVC.clear();
    if (C.races) {
      wc.assign(sh.size() / 2 + 1, WCell{0, 0, 0, 0, 0, 0, 0});
      rc.assign((sh.size() / 2 + 1) * nw, RCell{0, 0, 0, 0, 0});
    }
    for (u32 w = 0; w < nw; w++) {
      Warp& x = W[w];
      x = Warp();
      x.id = w;
      x.R.assign((size_t)F.nreg * 32, 0xDEADBEEFDEADBEEFull);
      x.P.assign(F.npred, 0);
      u32 n = std::min(32u, nt - w * 32);
      x.live = n == 32 ? ~0u : ((1u << n) - 1);
      x.g = {{0, x.live}};
      x.vc.assign(nw, 0);
      x.vc[w] = 1;
      x.loc.assign((size_t)F.localBytes * 32, 0xFF);
      for (u32 l = 0; l < 32; l++) {
        u32 t = w * 32 + l;
        u64 v[23] = {t % B.x,
                     t / B.x % B.y,
                     t / B.x / B.y,
                     B.x,
                     B.y,
                     B.z,
                     cta.x,
                     cta.y,
                     cta.z,
                     G.x,
                     G.y,
                     G.z,
                     l,
                     w,
                     0,
                     0,
                     1,
                     dyn,
                     (1u << l) - 1,
                     (u32)((2ull << l) - 1),
                     1u << l,
                     ~((1u << l) - 1),
                     ~(u32)((2ull << l) - 1)};
        for (int i = 0; i < 23; i++) x.s[i][l] = v[i];
      }
    }
    std::vector<u32> ord(nw);
    for (u32 i = 0; i < nw; i++) ord[i] = C.sched == 1 ? nw - 1 - i : i;
    while (true) {
      bool any = false, allDone = true;
      if (C.sched == 2)
        for (u32 i = nw - 1; i > 0; i--) {
          rng = rng * 6364136223846793005ull + 1442695040888963407ull;
          std::swap(ord[i], ord[(rng >> 33) % (i + 1)]);
        }
      for (u32 w : ord) {
        Warp& x = W[w];
        if (x.done) continue;
        allDone = false;
        if (x.atBar) continue;
        progress = false;
        u64 budget = ~0ull;
        if (C.sched == 2) {
          rng = rng * 6364136223846793005ull + 1;
          budget = 1 + (rng >> 33) % 200;
        }
        stepWarp(x, budget);
        any |= progress;
        checkBars();
      }
      if (allDone) break;
      if (!any) {
        checkBars();
        bool un = false;
        for (auto& x : W)
          if (!x.done && !x.atBar) un = true;
        for (auto& x : W)
          if (x.atBar) un |= false;
        if (!un || !any) {
          std::string m;
          for (auto& x : W)
            if (!x.done)
              m += " w" + std::to_string(x.id) + "@line" + std::to_string(F.code[x.g.empty() ? 0 : x.g[0].pc].line) +
                   (x.atBar ? "(bar)" : "");
          report(nullptr, "deadlock", "CTA cannot make progress:" + m);
          throw Fault("deadlock");
        }
      }
    }
    for (auto& x : W) {
      bool pending = !x.pend.empty() || false;
      for (auto& g : x.cg)
        if (!g.ops.empty()) pending = true;
      if (pending) report(nullptr, "cp.async-unwaited", "thread exits with cp.async groups that were never waited for");
    }
  }
  // ---- barriers
  void checkBars() {
    while (true) {
      bool rel = false;
      std::map<int, u32> cnt;
      std::map<int, u32> exp;
      u32 liveThreads = 0;
      for (auto& x : W)
        if (!x.done) liveThreads += 32 * (nt >= 32u * (x.id + 1)) + (nt < 32u * (x.id + 1) ? nt - 32 * x.id : 0);
      for (auto& x : W)
        if (x.atBar) {
          cnt[x.barId] += thr(x);
          exp[x.barId] = std::max(exp[x.barId], x.barCnt);
        }
      for (auto& a : arrivals) {
        cnt[a.first] += a.second.first;
        exp[a.first] = std::max(exp[a.first], a.second.second);
      }
      for (auto& c : cnt) {
        u32 need = exp[c.first] ? exp[c.first] : liveThreads;
        if (c.second >= need) {
          bool waiter = false;
          for (auto& x : W)
            if (x.atBar && x.barId == c.first) waiter = true;
          if (!waiter) continue;
          std::vector<u32> J(nw, 0);
          auto& nv = namedVC[c.first];
          if (!nv.empty())
            for (u32 i = 0; i < nw; i++) J[i] = std::max(J[i], nv[i]);
          nv.clear();
          for (auto& x : W)
            if (x.atBar && x.barId == c.first)
              for (u32 i = 0; i < nw; i++) J[i] = std::max(J[i], x.vc[i]);
          for (auto& x : W)
            if (x.atBar && x.barId == c.first) {
              x.atBar = false;
              x.vc = J;
              x.vc[x.id]++;
              x.sync++;
              x.g[0].pc++;
            }
          arrivals.erase(c.first);
          rel = true;
          break;
        }
      }
      if (!rel) return;
      progress = true;
    }
  }
  const Ins* curIns = nullptr;
  std::map<int, std::pair<u32, u32>> arrivals;
  u32 thr(Warp& x) { return std::min(32u, nt - 32 * x.id); }
  // ---- operand access
  u64 tmp[16][32];
  const u64* src(Warp& w, const Opd& o, int slot) {
    switch (o.k) {
      case O_REG:
        if (w.wgAny && w.wgp[o.idx])
          report(curIns, "wgmma-unwaited", "reads an accumulator register of a wgmma that has not been waited for");
        return &w.R[(size_t)o.idx * 32];
      case O_IMM:
        return &F.pool[o.pool];
      case O_SREG:
        return w.s[o.idx];
      case O_SINK: {
        for (int i = 0; i < 32; i++) tmp[slot][i] = 0;
        return tmp[slot];
      }
      case O_PRED: {
        for (int i = 0; i < 32; i++) tmp[slot][i] = (w.P[o.idx] >> i) & 1;
        return tmp[slot];
      }
      default:
        throw Fault("operand kind");
    }
  }
  u64* dst(Warp& w, const Opd& o) {
    if (o.k == O_SINK) return tmp[15];
    if (o.k != O_REG) throw Fault("dst kind");
    return &w.R[(size_t)o.idx * 32];
  }
  u32 prd(Warp& w, const Opd& o) {
    if (o.k == O_IMM) return o.imm ? ~0u : 0;
    u32 v = w.P[o.idx];
    return o.neg ? ~v : v;
  }
  template <class Fn>
  static inline void lanes(u32 m, Fn f) {
    if (m == ~0u)
      for (int l = 0; l < 32; l++) f(l);
    else
      for (; m; m &= m - 1) f(__builtin_ctz(m));
  }
  // ---- the warp loop
  void addGrp(Warp& w, int pc, u32 mask) {
    if (!mask) return;
    for (auto& g : w.g)
      if (g.pc == pc) {
        g.mask |= mask;
        return;
      }
    size_t i = 0;
    while (i < w.g.size() && w.g[i].pc < pc) i++;
    w.g.insert(w.g.begin() + i, {pc, mask});
  }
  void stepWarp(Warp& w, u64 budget) {
    size_t gi = 0;
    w.spin = false;
    while (budget--) {
      if (w.g.empty()) {
        w.done = true;
        progress = true;
        return;
      }
      if (gi >= w.g.size()) return;
      Grp g = w.g[gi];
      Ins& in = F.code[g.pc];
      u32 mask = g.mask;
      u32 em = mask;
      if (in.guard >= 0) {
        u32 p = w.P[in.guard];
        em &= in.gneg ? ~p : p;
      }
      // convergence requirements
      if (in.op >= SHFL &&
          (in.op == SHFL || in.op == VOTE || in.op == MATCH || in.op == REDUX || in.op == BAR || in.op == BARWARP ||
           in.op == LDMATRIX || in.op == STMATRIX || in.op == MMA || in.op == WGMMA || in.op == ELECT)) {
        u32 need = w.live;
        if (in.op == SHFL || in.op == VOTE || in.op == MATCH || in.op == REDUX || in.op == BARWARP || in.op == ELECT) {
          const Opd& mo = in.o.back();
          const u64* mm = src(w, mo, 14);
          need = (u32)mm[__builtin_ctz(mask)];
          if (need & ~w.live) {
            report(&in, "sync-mask", "member mask names exited/non-existent lanes");
            need &= w.live;
          }
          if (in.guard >= 0) need &= ~(mask & ~em);
        } else if (in.guard >= 0 && em != mask && em != 0)
          report(&in, "divergent-aligned", "guard predicate of a warp-aligned instruction is not uniform");
        if (em && (need & ~mask)) {
          if (w.g.size() > gi + 1) {
            gi++;
            continue;
          }
          report(&in, "divergent-sync",
                 "warp-level .sync/.aligned instruction reached by a subset of the warp: have " + hx(mask) + " need " +
                     hx(need));
          if (in.op == BAR) throw Fault("bar.sync in divergent code");
        }
      }
      progress = true;
      L.st.winst++;
      L.st.linst += __builtin_popcount(em);
      in.cnt++;
      if (C.maxInst && L.st.winst > C.maxInst) throw Fault("instruction budget exceeded (endless loop?)");
      if (in.op == BRA) {
        L.st.bra++;
        u32 t = em, nf = mask & ~em;
        if (t && nf) L.st.divBra++;
        w.g.erase(w.g.begin() + gi);
        addGrp(w, in.target, t);
        addGrp(w, g.pc + 1, nf);
        gi = 0;
        continue;
      }
      if (in.op == RET) {
        w.live &= ~em;
        w.g.erase(w.g.begin() + gi);
        if (mask & ~em) addGrp(w, g.pc + 1, mask & ~em);
        gi = 0;
        if (w.g.empty()) {
          w.done = true;
          return;
        }
        continue;
      }
      if (in.op == BAR && em) {
        L.st.bar++;
        {
          u32 n0 = thr(w), full = n0 == 32 ? ~0u : ((1u << n0) - 1);
          if (em != full)
            report(
                &in, "divergent-barrier",
                "bar.sync executed by lanes " + hx(em) + " of " + hx(full) + " (the others exited or are elsewhere)");
        }
        const u64* id = src(w, in.o[0], 13);
        u32 c = in.o.size() > 1 ? (u32)src(w, in.o[1], 14)[__builtin_ctz(em)] : 0;
        if (c & 31) report(&in, "bar-count", "barrier thread count is not a multiple of 32");
        int b = (int)id[__builtin_ctz(em)];
        if (in.f & F_ARRIVE) {
          auto& a = arrivals[b];
          a.first += thr(w);
          a.second = c;
          auto& nv = namedVC[b];
          if (nv.empty()) nv.assign(nw, 0);
          for (u32 i = 0; i < nw; i++) nv[i] = std::max(nv[i], w.vc[i]);
          w.vc[w.id]++;
          w.g[gi].pc++;
          continue;
        }
        w.atBar = true;
        w.barId = b;
        w.barCnt = c;
        if (gi) std::swap(w.g[0], w.g[gi]);
        return;
      }
      if (in.op == MBAR_TRY && em) {
        execTry(w, in, em);
        bool ok = (w.P[in.o[0].idx] & em) == em;
        advance(w, gi);
        if (ok) spinN = 0;
        if (!ok) {
          progress = false;
          w.spin = true;
          spinCheck();
          return;
        }
        gi = 0;
        continue;
      }
      if (em) exec(w, in, em);
      if (trLo >= 0 && in.line >= trLo && in.line <= trHi && w.id == trW) {
        fprintf(stderr, "T cta%u,%u l%d em%08x %s", cta.x, cta.y, in.line, em, in.txt.substr(0, 70).c_str());
        if (!in.o.empty() && in.o[0].k == O_REG)
          fprintf(stderr, "  -> [0]=%llx [1]=%llx", (unsigned long long)w.R[(size_t)in.o[0].idx * 32],
                  (unsigned long long)w.R[(size_t)in.o[0].idx * 32 + 1]);
        if (!in.o.empty() && in.o[0].k == O_PRED) fprintf(stderr, "  -> P %08x", w.P[in.o[0].idx]);
        fprintf(stderr, "\n");
      }
      advance(w, gi);
      gi = 0;
    }
  }
  int trLo = -1, trHi = -1, trW = 0;
  void traceInit() {
    if (const char* e = getenv("PTXSIM_TRACE")) sscanf(e, "%d,%d,%d", &trLo, &trHi, &trW);
  }
  u64 spinN = 0;
  void spinCheck() {
    if (++spinN > 200000) {
      report(nullptr, "deadlock", "mbarrier wait never satisfied");
      throw Fault("mbarrier wait never satisfied (deadlock)");
    }
    progress = true;
  }
  void advance(Warp& w, size_t gi) {
    int pc = ++w.g[gi].pc;
    for (size_t j = 0; j < w.g.size(); j++)
      if (j != gi && w.g[j].pc == pc) {
        w.g[j].mask |= w.g[gi].mask;
        w.g.erase(w.g.begin() + gi);
        return;
      }
    while (gi + 1 < w.g.size() && w.g[gi].pc > w.g[gi + 1].pc) {
      std::swap(w.g[gi], w.g[gi + 1]);
      gi++;
    }
  }
  // ---- memory
  void shCheck(Warp& w, const Ins& in, u32 a, u32 n, int l, bool wr, bool async = false) {
    if ((u64)a + n > sh.size()) {
      report(&in, "shared-oob",
             std::string(wr ? "store" : "load") + " of " + std::to_string(n) + " B at shared+" + hx(a) + ", size " +
                 hx(sh.size()));
      throw Fault("shared out of bounds");
    }
    if (a % n) {
      report(&in, "misaligned", "shared address " + hx(a) + " for " + std::to_string(n) + " B");
      throw Fault("misaligned");
    }
    if (C.uninit && !wr)
      for (u32 i = 0; i < n; i++)
        if (!shI[a + i]) {
          report(&in, "shared-uninit",
                 "lane " + std::to_string(l) + " warp " + std::to_string(w.id) + " reads shared+" + hx(a + i) +
                     " that nobody wrote (or whose cp.async has not been waited for)");
          break;
        }
    if (C.races)
      for (u32 q = a / 2; q < (a + n + 1) / 2; q++) {
        WCell& c = wc[q];
        if (c.pend) {
          report(&in, wr ? "cp.async-overlap" : "cp.async-unwaited-read",
                 "access to shared+" + hx(q * 2) + " while a cp.async into it is pending (issued by warp " +
                     std::to_string(c.w) + ")");
        } else if (c.clk) {
          bool ord = c.w == w.id ? (c.lane == l || c.sync < w.sync) : c.clk <= w.vc[c.w];
          if (!ord)
            report(&in,
                   std::string(c.w == w.id ? "intra-warp " : "") + (wr ? "race write-write" : "race read-after-write"),
                   "shared+" + hx(q * 2) + ": warp " + std::to_string(w.id) + " lane " + std::to_string(l) +
                       " vs unsynchronised write by warp " + std::to_string(c.w) + " lane " + std::to_string(c.lane));
        }
        RCell* r = &rc[(size_t)q * nw];
        if (wr) {
          for (u32 i = 0; i < nw; i++)
            if (r[i].clk) {
              bool ord = (int)i == w.id ? ((r[i].lane == l && !r[i].multi) || r[i].sync < w.sync) : r[i].clk <= w.vc[i];
              if (!ord)
                report(&in, std::string((int)i == w.id ? "intra-warp " : "") + "race write-after-read",
                       "shared+" + hx(q * 2) + ": warp " + std::to_string(w.id) + " lane " + std::to_string(l) +
                           " overwrites data that warp " + std::to_string(i) + " may still be reading");
              r[i].clk = 0;
            }
          c.clk = w.vc[w.id];
          c.w = w.id;
          c.lane = l;
          c.sync = w.sync;
          c.pend = async;
          c.pf = w.pfence;
        } else {
          RCell& x = r[w.id];
          if (x.clk == w.vc[w.id] && x.sync == w.sync && x.lane != l)
            x.multi = 1;
          else if (x.sync != w.sync)
            x.multi = 0;
          x.clk = w.vc[w.id];
          x.sync = w.sync;
          x.lane = l;
        }
      }
  }
  u8* glob(const Ins& in, u64 a, u32 n, bool wr, bool atomic, int l) {
    Alloc* A = D.find(a);
    if (!A || a + n > A->base + A->size) {
      std::string near;
      if (A)
        near = " (past the end of '" + A->tag + "')";
      else {
        auto i = D.A.upper_bound(a);
        if (i != D.A.begin()) {
          --i;
          near = " (" + std::to_string((i64)(a - i->second->base - i->second->size)) +
                 " B past the end of allocation '" + i->second->tag + "' of " + std::to_string(i->second->size) + " B)";
        }
      }
      report(&in, "global-oob",
             std::string(wr ? "store" : "load") + " of " + std::to_string(n) + " B at " + hx(a) + near + " by lane " +
                 std::to_string(l));
      throw Fault("illegal memory access");
    }
    if (a % n) {
      report(&in, "misaligned", "global address " + hx(a) + " for " + std::to_string(n) + " B");
      throw Fault("misaligned address");
    }
    u64 o = a - A->base;
    if (C.uninit && (!wr || atomic))
      for (u32 i = 0; i < n; i++)
        if (!A->init[o + i]) {
          report(&in, "global-uninit",
                 "reads byte " + std::to_string(o + i) + " of '" + A->tag + "' that was never written");
          break;
        }
    if (wr) memset(&A->init[o], 1, n);
    A->sect[o / 32] |= wr ? 2 : 1;
    if (wr && atomic) A->sect[o / 32] |= 1;
    if (C.races && D.trackRaces)
      for (u64 q = o / 2; q < (o + n + 1) / 2; q++) {
        u32& b = A->wblk[q];
        u32 me = ctaLin | (atomic ? 0x80000000u : 0);
        if (wr) {
          if (b && b != me && !((b & me) >> 31) && (b & 0x7fffffff) != ctaLin)
            report(&in, "inter-CTA race", "two CTAs write byte " + std::to_string(q * 2) + " of '" + A->tag + "'");
          b = me;
        } else if (b && (b & 0x7fffffff) != ctaLin)
          report(
              &in, "inter-CTA race",
              "CTA reads byte " + std::to_string(q * 2) + " of '" + A->tag + "' written by another CTA in this launch");
      }
    return &A->data[o];
  }
  Space resolve(u64& a, Space sp) {
    if (sp == SP_GEN) {
      if (a >= SH_WIN && a < SH_WIN + (1u << 24)) {
        a -= SH_WIN;
        return SP_SHARED;
      }
      if (a >= LO_WIN && a < LO_WIN + (1u << 24)) {
        a -= LO_WIN;
        return SP_LOCAL;
      }
      return SP_GLOBAL;
    }
    return sp == SP_CONST ? SP_GLOBAL : sp;
  }
  void perfG(u32 m, const u64* ad, u32 n, u64& req, u64& sec, u64& ideal) {
    u64 s[128];
    int k = 0;
    u32 c = 0;
    lanes(m, [&](int l) {
      c++;
      for (u64 q = ad[l] / 32; q <= (ad[l] + n - 1) / 32; q++)
        if (k < 128) s[k++] = q;
    });
    std::sort(s, s + k);
    sec += std::unique(s, s + k) - s;
    req++;
    ideal += (c * n + 31) / 32;
  }
  // shared wavefronts: 32 banks x 4 B; 8/16-byte accesses are served per half/quarter warp
  u32 waves(u32 m, const u64* ad, u32 n, u64* ideal) {
    u32 per = n <= 4 ? 32 : n == 8 ? 16 : 8;
    u32 tot = 0;
    for (u32 s = 0; s < 32; s += per) {
      u32 mm = (per == 32 ? m : (m >> s) & ((1u << per) - 1));
      if (!mm) continue;
      u32 w[64];
      int k = 0;
      for (; mm; mm &= mm - 1) {
        u32 l = s + __builtin_ctz(mm);
        for (u32 b = 0; b < std::max(n, 4u); b += 4) w[k++] = (u32)((ad[l] + b) >> 2);
      }
      std::sort(w, w + k);
      k = std::unique(w, w + k) - w;
      u8 bank[32] = {};
      u8 mx = 0;
      for (int i = 0; i < k; i++) mx = std::max(mx, ++bank[w[i] & 31]);
      tot += mx;
      if (ideal) *ideal += 1;
    }
    return tot;
  }
  void addrs(Warp& w, const Opd& o, u32 m, u64* a) {
    if (o.base >= 0) {
      const u64* b = &w.R[(size_t)o.base * 32];
      lanes(m, [&](int l) { a[l] = b[l] + o.off; });
    } else
      lanes(m, [&](int l) { a[l] = o.off; });
  }
  static u64 ext(u64 v, Ty t) {
    if (t.bits == 64) return v;
    if (t.k == KS) {
      int s = 64 - t.bits;
      return (u64)((i64)(v << s) >> s);
    }
    return v & ((1ull << t.bits) - 1);
  }
  static u64 rd(const u8* p, u32 n) {
    u64 v = 0;
    memcpy(&v, p, n);
    return v;
  }
  void memop(Warp& w, Ins& in, u32 m) {
    bool ld = in.op == LD;
    const Opd& mo = in.o[ld ? 1 : 0];
    const Opd& vo = in.o[ld ? 0 : 1];
    u32 es = in.t.bits / 8, n = es * in.vec;
    u64 a[32];
    if (in.sp == SP_PARAM) {
      for (u32 e = 0; e < in.vec; e++) {
        u64* d = dst(w, in.vec > 1 ? vo.v[e] : vo);
        u64 off = mo.off + (mo.base >= 0 ? w.R[(size_t)mo.base * 32 + __builtin_ctz(m)] : 0) + e * es;
        if (off + es > par.size()) throw Fault("param out of range");
        u64 v = ext(rd(&par[off], es), in.t);
        lanes(m, [&](int l) { d[l] = v; });
      }
      return;
    }
    addrs(w, mo, m, a);
    u64 a0 = a[__builtin_ctz(m)];
    Space sp = resolve(a0, in.sp);
    if (in.sp == SP_GEN)
      lanes(m, [&](int l) {
        Space s2 = resolve(a[l], SP_GEN);
        if (s2 != sp) throw Fault("generic access mixes state spaces");
      });
    if (in.sp == SP_SHARED) lanes(m, [&](int l) { a[l] &= 0xffffffff; });
    if (C.perf) {
      if (sp == SP_GLOBAL)
        ld ? perfG(m, a, n, L.st.gldReq, L.st.gldSect, L.st.gldIdeal)
           : perfG(m, a, n, L.st.gstReq, L.st.gstSect, L.st.gstIdeal);
      else if (sp == SP_SHARED) {
        if (ld) {
          L.st.sldReq++;
          L.st.sldWave += waves(m, a, n, &L.st.sldIdeal);
        } else {
          L.st.sstReq++;
          L.st.sstWave += waves(m, a, n, &L.st.sstIdeal);
        }
      }
    }
    const u64* sv[8];
    u64* dv[8];
    for (u32 e = 0; e < in.vec; e++) {
      const Opd& x = in.vec > 1 ? vo.v[e] : vo;
      if (ld)
        dv[e] = dst(w, x);
      else
        sv[e] = src(w, x, e);
    }
    lanes(m, [&](int l) {
      u8* p;
      if (sp == SP_SHARED) {
        shCheck(w, in, (u32)a[l], n, l, !ld);
        p = &sh[a[l]];
        if (!ld) memset(&shI[a[l]], 1, n);
      } else if (sp == SP_LOCAL) {
        if (a[l] + n > F.localBytes) {
          report(&in, "local-oob", "local access");
          throw Fault("local oob");
        }
        p = &w.loc[(size_t)l * F.localBytes + a[l]];
      } else
        p = glob(in, a[l], n, !ld, false, l);
      for (u32 e = 0; e < in.vec; e++)
        if (ld) {
          u64 v = ext(rd(p + e * es, es), in.t);
          dv[e][l] = v;
        } else
          memcpy(p + e * es, &sv[e][l], es);
    });
  }
  void cpComplete(Warp& w, const CpOp& o) {
    u64 z[2] = {0, 0};
    if (o.srcn) {
      Alloc* A = D.find(o.src);
      memcpy(z, &A->data[o.src - A->base], o.srcn);
    }
    memcpy(&sh[o.dst], z, o.n);
    memset(&shI[o.dst], 1, o.n);
    if (C.races)
      for (u32 q = o.dst / 2; q < (o.dst + o.n) / 2; q++) {
        WCell& c = wc[q];
        c.pend = 0;
        c.clk = w.vc[w.id];
        c.w = w.id;
        c.lane = o.lane;
        c.sync = w.sync;
        c.pf = w.pfence;
      }
  }
  // ---- typed ALU
  template <class Fn>
  void f32op1(Warp& w, Ins& in, u32 m, Fn f) {
    u64* d = dst(w, in.o[0]);
    const u64* a = src(w, in.o[1], 0);
    lanes(m, [&](int l) { d[l] = bc<u32>(f(bc<float>((u32)a[l]))); });
  }
  static float ftz(float x) { return std::fabs(x) < 1.17549435e-38f ? copysignf(0.f, x) : x; }
  static u64 fget(u64 v, Ty t, double& o) {
    switch (t.k) {
      case KF:
        o = t.bits == 32 ? bc<float>((u32)v) : t.bits == 64 ? bc<double>(v) : h2f((u16)v);
        break;
      case KBF:
        o = bf2f((u16)v);
        break;
      default:
        o = 0;
    }
    return 0;
  }
  static u64 fput(double x, Ty t) {
    if (t.k == KBF) return f2bf((float)x);
    if (t.bits == 16) return f2h((float)x);
    if (t.bits == 32) return bc<u32>((float)x);
    return bc<u64>(x);
  }
  bool isF(Ty t) { return t.k == KF || t.k == KBF || t.k == KBF2 || t.k == KH2; }
  template <class Fn>
  void fN(Warp& w, Ins& in, u32 m, int n, Fn f) {
    u64* d = dst(w, in.o[0]);
    const u64* s[3] = {};
    for (int i = 0; i < n; i++) s[i] = src(w, in.o[i + 1], i);
    Ty t = in.t;
    u64 r[32];
    lanes(m, [&](int l) {
      if (t.k == KBF2 || t.k == KH2) {
        Ty h = t.k == KBF2 ? Ty{KBF, 16} : Ty{KF, 16};
        u64 o = 0;
        for (int p = 0; p < 2; p++) {
          double x[3] = {};
          for (int i = 0; i < n; i++) fget((s[i][l] >> (16 * p)) & 0xffff, h, x[i]);
          o |= fput(f(x), h) << (16 * p);
        }
        r[l] = o;
      } else {
        double x[3] = {};
        for (int i = 0; i < n; i++) fget(s[i][l], t, x[i]);
        double y = f(x);
        if (in.f & F_SAT) y = y > 1 ? 1 : (y > 0 ? y : 0);
        r[l] = fput(y, t);
      }
    });
    lanes(m, [&](int l) { d[l] = r[l]; });
  }
  template <class Fn>
  void iN(Warp& w, Ins& in, u32 m, int n, Fn f) {
    u64* d = dst(w, in.o[0]);
    const u64* s[3] = {};
    for (int i = 0; i < n; i++) s[i] = src(w, in.o[i + 1], i);
    Ty t = in.t;
    u64 mk = t.bits == 64 ? ~0ull : (1ull << t.bits) - 1;
    lanes(m, [&](int l) {
      u64 x[3] = {};
      for (int i = 0; i < n; i++) x[i] = ext(s[i][l], t);
      d[l] = f(x) & mk;
    });
  }
  double rnd(double v, u32 f) {
    if (f & F_RZI) return std::trunc(v);
    if (f & F_RMI) return std::floor(v);
    if (f & F_RPI) return std::ceil(v);
    return std::nearbyint(v);
  }
  void cvt(Warp& w, Ins& in, u32 m) {
    Ty d = in.t, s = in.t2;
    u64* o = dst(w, in.o[0]);
    const u64* a = src(w, in.o[1], 0);
    if (d.k == KBF2 || d.k == KH2) {
      const u64* b = src(w, in.o[2], 1);
      lanes(m, [&](int l) {
        float hi = bc<float>((u32)a[l]), lo = bc<float>((u32)b[l]);
        if (in.f & F_RELU) {
          hi = hi > 0 ? hi : 0;
          lo = lo > 0 ? lo : 0;
        }
        o[l] = d.k == KBF2 ? ((u64)f2bf(hi) << 16 | f2bf(lo)) : ((u64)f2h(hi) << 16 | f2h(lo));
      });
      return;
    }
    if (d.k == KTF32) {
      lanes(m, [&](int l) {
        u32 x = (u32)a[l];
        o[l] = (x + 0x1000) & ~0x1fffu;
      });
      return;
    }
    bool df = isF(d), sf = isF(s);
    if (!df && !sf) {
      u64 mk = d.bits == 64 ? ~0ull : (1ull << d.bits) - 1;
      lanes(m, [&](int l) {
        u64 v = ext(a[l], s);
        if (in.f & F_SAT) {
          i64 x = (i64)v;
          if (d.k == KS) {
            i64 mx = (1ll << (d.bits - 1)) - 1;
            x = x > mx ? mx : x < -mx - 1 ? -mx - 1 : x;
          } else {
            if (s.k == KS && x < 0) x = 0;
            if ((u64)x > mk) x = (i64)mk;
          }
          v = (u64)x;
        }
        o[l] = v & mk;
      });
      return;
    }
    if (df && sf) {
      lanes(m, [&](int l) {
        double x;
        fget(a[l], s, x);
        if (in.f & (F_RNI | (d.k == s.k && d.bits == s.bits ? F_RZI : 0) | F_RMI | F_RPI)) x = rnd(x, in.f);
        if (in.f & F_SAT) x = x > 1 ? 1 : (x > 0 ? x : 0);
        if ((in.f & F_RZI) && d.bits == 32 && s.bits == 64) {
          float f = (float)x;
          if (std::fabs((double)f) > std::fabs(x)) f = nextafterf(f, 0);
          x = f;
        }
        o[l] = fput(x, d);
      });
      return;
    }
    if (df) {
      lanes(m, [&](int l) {
        if (d.bits == 32) {
          float f = s.k == KS ? (float)(i64)ext(a[l], s) : (float)ext(a[l], s);
          if ((in.f & (F_RZI | F_RMI | F_RPI))) {
            double v = s.k == KS ? (double)(i64)ext(a[l], s) : (double)ext(a[l], s);
            if ((in.f & F_RZI) && std::fabs((double)f) > std::fabs(v)) f = nextafterf(f, 0.f);
          }
          o[l] = bc<u32>(f);
        } else
          o[l] = fput(s.k == KS ? (double)(i64)ext(a[l], s) : (double)ext(a[l], s), d);
      });
      return;
    }
    lanes(m, [&](int l) {
      double x;
      fget(a[l], s, x);
      if (x != x) {
        o[l] = 0;
        return;
      }
      x = rnd(x, in.f);
      u64 mk = d.bits == 64 ? ~0ull : (1ull << d.bits) - 1;
      if (d.k == KS) {
        double mx = std::ldexp(1.0, d.bits - 1);
        o[l] = (x >= mx ? (1ull << (d.bits - 1)) - 1 : x < -mx ? (1ull << (d.bits - 1)) : (u64)(i64)x) & mk;
      } else {
        double mx = std::ldexp(1.0, d.bits);
        o[l] = x <= 0 ? 0 : x >= mx ? mk : ((u64)x & mk);
      }
    });
  }
  bool cmp(int c, double a, double b, bool& un) {
    un = a != a || b != b;
    switch (c) {
      case EQ:
        return !un && a == b;
      case NE:
        return !un && a != b;
      case LT:
        return a < b;
      case LE:
        return a <= b;
      case GT:
        return a > b;
      case GE:
        return a >= b;
      case EQU:
        return un || a == b;
      case NEU:
        return un || a != b;
      case LTU:
        return un || a < b;
      case LEU:
        return un || a <= b;
      case GTU:
        return un || a > b;
      case GEU:
        return un || a >= b;
      case NUM:
        return !un;
      case NANC:
        return un;
    }
    return false;
  }
  template <class T>
  bool icmp(int c, T a, T b) {
    switch (c) {
      case EQ:
        return a == b;
      case NE:
        return a != b;
      case LT:
      case LO:
        return a < b;
      case LE:
      case LS:
        return a <= b;
      case GT:
      case HI:
        return a > b;
      case GE:
      case HS:
        return a >= b;
    }
    return false;
  }
  void mmaop(Warp& w, Ins& in, u32 m) {
    if (m != w.live || w.live != ~0u) {
      report(&in, "divergent-sync", "mma with inactive lanes");
    }
    Ty ab = in.t2;
    bool tf = ab.k == KTF32;
    int K = in.m1;
    L.st.mma++;
    L.st.mmaFlops += 2ull * 16 * 8 * K;
    if (in.t.k != KF || in.t.bits != 32) throw Fault("mma accumulate type");
    float A[16][16], Bm[16][8];
    double Cc[16][8];
    const Opd &oa = in.o[1], &ob = in.o[2], &oc = in.o[3];
    auto cv = [&](u16 h) { return ab.k == KBF ? bf2f(h) : h2f(h); };
    for (int l = 0; l < 32; l++) {
      int g = l >> 2, t = l & 3;
      if (!tf) {
        int na = K == 16 ? 4 : 2;
        for (int r = 0; r < na; r++) {
          u64 v = src(w, oa.v[r], 0)[l];
          int row = g + (r & 1) * 8, col = t * 2 + (r >> 1) * 8;
          A[row][col] = cv((u16)v);
          A[row][col + 1] = cv((u16)(v >> 16));
        }
        for (int r = 0; r < na / 2; r++) {
          u64 v = src(w, ob.v[r], 0)[l];
          int k = t * 2 + r * 8;
          Bm[k][g] = cv((u16)v);
          Bm[k + 1][g] = cv((u16)(v >> 16));
        }
      } else {
        for (int r = 0; r < 4; r++) {
          u32 v = (u32)src(w, oa.v[r], 0)[l] & ~0x1fffu;
          A[g + (r & 1) * 8][t + (r >> 1) * 4] = bc<float>(v);
        }
        for (int r = 0; r < 2; r++) {
          u32 v = (u32)src(w, ob.v[r], 0)[l] & ~0x1fffu;
          Bm[t + r * 4][g] = bc<float>(v);
        }
      }
      for (int r = 0; r < 4; r++) Cc[g + (r >> 1) * 8][t * 2 + (r & 1)] = bc<float>((u32)src(w, oc.v[r], 0)[l]);
    }
    for (int i = 0; i < 16; i++)
      for (int k = 0; k < K; k++) {
        double a = A[i][k];
        for (int j = 0; j < 8; j++) Cc[i][j] += a * Bm[k][j];
      }
    for (int r = 0; r < 4; r++) {
      u64* d = dst(w, in.o[0].v[r]);
      for (int l = 0; l < 32; l++) {
        int g = l >> 2, t = l & 3;
        d[l] = bc<u32>((float)Cc[g + (r >> 1) * 8][t * 2 + (r & 1)]);
      }
    }
  }
  void ldmat(Warp& w, Ins& in, u32 m, bool st) {
    const Opd &mo = in.o[st ? 0 : 1], &vo = in.o[st ? 1 : 0];
    u64 a[32];
    addrs(w, mo, m, a);
    int n = in.vec;
    u16 T[8][8];
    u64 out[4][32];
    const u64* sv[4];
    auto el = [&](int i) -> const Opd& { return vo.k == O_VEC ? vo.v[i] : vo; };
    if (st)
      for (int i = 0; i < n; i++) sv[i] = src(w, el(i), i);
    for (int q = 0; q < n; q++) {
      if (C.perf) {
        u64 id = 0;
        u64 aa[32];
        for (int i = 0; i < 8; i++) aa[i] = a[q * 8 + i] & 0xffffffff;
        L.st.ldmWave += waves(0xff, aa, 16, &id);
        L.st.ldmReq++;
      }
      if (st)
        for (int l = 0; l < 32; l++) {
          u32 v = (u32)sv[q][l];
          int r = l >> 2, c = (l & 3) * 2;
          if (in.f & F_TRANS) {
            T[c][r] = v;
            T[c + 1][r] = v >> 16;
          } else {
            T[r][c] = v;
            T[r][c + 1] = v >> 16;
          }
        }
      for (int r = 0; r < 8; r++) {
        u32 ad = (u32)a[q * 8 + r];
        shCheck(w, in, ad, 16, q * 8 + r, st);
        if (st) {
          memcpy(&sh[ad], T[r], 16);
          memset(&shI[ad], 1, 16);
        } else
          memcpy(T[r], &sh[ad], 16);
      }
      if (!st)
        for (int l = 0; l < 32; l++) {
          int r = l >> 2, c = (l & 3) * 2;
          out[q][l] = (in.f & F_TRANS) ? ((u64)T[c + 1][r] << 16 | T[c][r]) : ((u64)T[r][c + 1] << 16 | T[r][c]);
        }
    }
    if (!st)
      for (int q = 0; q < n; q++) {
        u64* d = dst(w, el(q));
        for (int l = 0; l < 32; l++) d[l] = out[q][l];
      }
  }
  // one warp's 16 rows of a warpgroup m64nNk16; smem operands through matrix descriptors
  static u32 descAddr(u64 d, bool mnMajor, u32 mn, u32 k) {
    u32 st = (u32)(d & 0x3fff) << 4, lbo = (u32)((d >> 16) & 0x3fff) << 4, sbo = (u32)((d >> 32) & 0x3fff) << 4;
    int mode = (int)(d >> 62);
    u32 a;
    static const u32 row[4] = {16, 128, 64, 32};
    u32 W = row[mode];
    if (!mnMajor) {
      if (mode == 0)
        a = st + (mn / 8) * sbo + (mn % 8) * 16 + (k / 8) * lbo + (k % 8) * 2;
      else
        a = st + (mn / 8) * sbo + (mn % 8) * W + k * 2;
    } else {
      if (mode == 0)
        a = st + (mn / 8) * sbo + (mn % 8) * 2 + (k / 8) * lbo + (k % 8) * 16;
      else {
        u32 e = W / 2;
        a = st + (mn / e) * lbo + (mn % e) * 2 + (k / 8) * sbo + (k % 8) * W;
      }
    }
    u32 bits = mode == 1 ? 7 : mode == 2 ? 3 : mode == 3 ? 1 : 0;
    return a ^ (((a >> 7) & bits) << 4);
  }
  void wgmma(Warp& w, Ins& in, u32 m) {
    if (m != ~0u) {
      report(&in, "divergent-sync", "wgmma with inactive lanes");
      return;
    }
    if ((w.id & 3) != 0 && nw < 4) report(&in, "wgmma", "needs a warpgroup of 4 warps");
    int N = in.m1, K = in.m2;
    bool areg = in.o[1].k == O_VEC;
    if (K != 16) throw Fault("wgmma k");
    bool ta = false, tb = false;
    size_t no = in.o.size();
    if (areg) {
      if (no > 6) tb = in.o[6].imm;
    } else {
      if (no > 6) ta = in.o[6].imm;
      if (no > 7) tb = in.o[7].imm;
    }
    if (w.wgp.empty()) w.wgp.assign(F.nreg, 0);
    bool wga = w.wgAny;
    w.wgAny = false;
    u32 sd = in.o[3].k == O_PRED ? prd(w, in.o[3]) : (in.o[3].imm ? ~0u : 0);
    float sa = in.o.size() > 4 && (i64)in.o[4].imm == -1 ? -1.f : 1.f,
          sb = in.o.size() > 5 && (i64)in.o[5].imm == -1 ? -1.f : 1.f;
    auto cv = [&](u16 h) { return in.t2.k == KBF ? bf2f(h) : h2f(h); };
    auto get = [&](u64 d, bool tr, u32 mn, u32 k) -> float {
      u32 a = descAddr(d, tr, mn, k);
      if (a + 2 > sh.size()) {
        report(&in, "shared-oob", "wgmma descriptor reaches shared+" + hx(a));
        throw Fault("wgmma oob");
      }
      if (((tr ? mn : k) & 7) == 0) {
        shCheck(w, in, a & ~15u, 16, 0, false);
        if (C.races) {
          WCell& c = wc[a / 2];
          if (c.clk && W[c.w].pfence <= c.pf)
            report(&in, "missing fence.proxy.async",
                   "wgmma reads shared+" + hx(a) + " written through the generic proxy by warp " + std::to_string(c.w) +
                       " without a later fence.proxy.async");
        }
      }
      u16 h;
      memcpy(&h, &sh[a], 2);
      return cv(h);
    };
    int wr = (w.id & 3) * 16;
    static thread_local float A[16][16];
    std::vector<float> Bm((size_t)K * N);
    if (areg) {
      for (int l = 0; l < 32; l++) {
        int g = l >> 2, t = l & 3;
        for (int r = 0; r < 4; r++) {
          u64 v = src(w, in.o[1].v[r], 0)[l];
          int row = g + (r & 1) * 8, col = t * 2 + (r >> 1) * 8;
          A[row][col] = cv((u16)v);
          A[row][col + 1] = cv((u16)(v >> 16));
        }
      }
    } else {
      u64 da = src(w, in.o[1], 0)[0];
      for (int i = 0; i < 16; i++)
        for (int k = 0; k < K; k++) A[i][k] = get(da, ta, wr + i, k);
    }
    u64 db = src(w, in.o[2], 1)[0];
    if (tb)
      for (int k = 0; k < K; k++)
        for (int j = 0; j < N; j++) Bm[(size_t)k * N + j] = get(db, true, j, k);
    else
      for (int j = 0; j < N; j++)
        for (int k = 0; k < K; k++) Bm[(size_t)k * N + j] = get(db, false, j, k);
    std::vector<double> acc(N);
    for (int i = 0; i < 16; i++) {
      for (int j = 0; j < N; j++) acc[j] = 0;
      for (int k = 0; k < K; k++) {
        double a = (double)A[i][k] * sa * sb;
        for (int j = 0; j < N; j++) acc[j] += a * Bm[(size_t)k * N + j];
      }
      for (int j = 0; j < N; j++) {
        int l = (i & 7) * 4 + ((j & 7) >> 1), r = (j >> 3) * 4 + ((i >> 3) << 1) + (j & 1);
        u64& d = w.R[(size_t)in.o[0].v[r].idx * 32 + l];
        float c = (sd & 1) ? bc<float>((u32)d) : 0.f;
        d = bc<u32>((float)(c + acc[j]));
      }
    }
    for (auto& o : in.o[0].v) {
      w.wgp[o.idx] = 1;
      w.wgOpen.push_back(o.idx);
    }
    w.wgAny = true;
    (void)wga;
    L.st.mmaFlops += 2ull * 16 * N * K;
    L.st.mma++;
  }
  u64 rmw(int op, Ty t, u64 o, u64 b, u64 c) {
    double x, y;
    switch (op) {
      case 0:
        if (t.k == KBF2 || t.k == KH2) {
          Ty h = t.k == KBF2 ? Ty{KBF, 16} : Ty{KF, 16};
          u64 r = 0;
          for (int p = 0; p < 2; p++) {
            fget((o >> 16 * p) & 0xffff, h, x);
            fget((b >> 16 * p) & 0xffff, h, y);
            r |= fput((float)x + (float)y, h) << (16 * p);
          }
          return r;
        }
        if (isF(t)) {
          fget(o, t, x);
          fget(b, t, y);
          return fput(x + y, t);
        }
        return o + b;
      case 1:
        return t.k == KS ? ((i64)ext(o, t) < (i64)ext(b, t) ? o : b) : (ext(o, t) < ext(b, t) ? o : b);
      case 2:
        return t.k == KS ? ((i64)ext(o, t) > (i64)ext(b, t) ? o : b) : (ext(o, t) > ext(b, t) ? o : b);
      case 3:
        return o & b;
      case 4:
        return o | b;
      case 5:
        return o ^ b;
      case 6:
        return b;
      case 7:
        return ext(o, t) == ext(b, t) ? c : o;
      case 8:
        return ext(o, t) >= ext(b, t) ? 0 : o + 1;
      case 9:
        return (ext(o, t) == 0 || ext(o, t) > ext(b, t)) ? b : o - 1;
    }
    throw Fault("atom op");
  }
  void execTry(Warp& w, Ins& in, u32 m) {
    u64 a[32];
    addrs(w, in.o[1], m, a);
    const u64* ph = src(w, in.o[2], 1);
    u32 r = 0;
    lanes(m, [&](int l) {
      Mbar& b = mb[(u32)a[l]];
      if (!b.valid) {
        report(&in, "mbarrier", "wait on uninitialised mbarrier");
        throw Fault("mbarrier");
      }
      bool done = (b.phase & 1) != (ph[l] & 1);
      if (done) {
        r |= 1u << l;
        for (u32 i = 0; i < nw; i++) w.vc[i] = std::max(w.vc[i], b.vc[i]);
      }
    });
    u32& P = w.P[in.o[0].idx];
    P = (P & ~m) | r;
  }
  void mbStep(Mbar& b, u32 init) {
    if (b.arrived >= b.expect && b.tx == 0) {
      b.phase++;
      b.arrived = 0;
    }
    (void)init;
  }
  void exec(Warp& w, Ins& in, u32 m) {
    Ty t = in.t;
    curIns = &in;
    switch (in.op) {
      case NOP:
        return;
      case FENCEPROXY:
        w.pfence++;
        return;
      case TRAP:
        report(&in, "trap", "trap / assert executed");
        throw Fault("trap");
      case LD:
      case ST:
        memop(w, in, m);
        return;
      case ADD:
        if (t.k == KF && t.bits == 32 && !(in.f & ~F_FTZ)) {
          u64* d = dst(w, in.o[0]);
          const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1);
          lanes(m, [&](int l) { d[l] = bc<u32>(bc<float>((u32)a[l]) + bc<float>((u32)b[l])); });
          return;
        }
        if (isF(t)) {
          fN(w, in, m, 2, [](double* x) { return x[0] + x[1]; });
          return;
        }
        iN(w, in, m, 2, [](u64* x) { return x[0] + x[1]; });
        return;
      case SUB:
        if (isF(t))
          fN(w, in, m, 2, [](double* x) { return x[0] - x[1]; });
        else
          iN(w, in, m, 2, [](u64* x) { return x[0] - x[1]; });
        return;
      case MUL:
        if (t.k == KF && t.bits == 32 && !(in.f & ~F_FTZ)) {
          u64* d = dst(w, in.o[0]);
          const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1);
          lanes(m, [&](int l) { d[l] = bc<u32>(bc<float>((u32)a[l]) * bc<float>((u32)b[l])); });
          return;
        }
        if (isF(t))
          fN(w, in, m, 2, [](double* x) { return x[0] * x[1]; });
        else
          mulad(w, in, m, false);
        return;
      case MAD:
        if (isF(t)) goto FMA_;
        mulad(w, in, m, true);
        return;
      case FMA:
      FMA_:
        L.st.fma++;
        if (t.k == KF && t.bits == 32) {
          u64* d = dst(w, in.o[0]);
          const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1), *c = src(w, in.o[3], 2);
          bool sat = in.f & F_SAT;
          lanes(m, [&](int l) {
            float r = fmaf(bc<float>((u32)a[l]), bc<float>((u32)b[l]), bc<float>((u32)c[l]));
            if (sat) r = r > 1 ? 1 : (r > 0 ? r : 0);
            d[l] = bc<u32>(r);
          });
          return;
        }
        fN(w, in, m, 3, [&](double* x) {
          double r = t.bits == 64 ? fma(x[0], x[1], x[2]) : x[0] * x[1] + x[2];
          return (in.f & F_RELU) ? (r > 0 ? r : 0) : r;
        });
        return;
      case DIV:
        if (isF(t))
          fN(w, in, m, 2, [&](double* x) { return t.bits == 32 ? (double)((float)x[0] / (float)x[1]) : x[0] / x[1]; });
        else
          iN(w, in, m, 2, [&](u64* x) {
            if (!x[1]) return (u64)~0ull;
            return t.k == KS ? (u64)((i64)x[0] / (i64)x[1]) : (u64)(x[0] / x[1]);
          });
        return;
      case REM:
        iN(w, in, m, 2, [&](u64* x) {
          if (!x[1]) return (u64)~0ull;
          return t.k == KS ? (u64)((i64)x[0] % (i64)x[1]) : (u64)(x[0] % x[1]);
        });
        return;
      case MIN:
        if (isF(t))
          fN(w, in, m, 2, [](double* x) { return x[0] != x[0] ? x[1] : x[1] != x[1] ? x[0] : std::min(x[0], x[1]); });
        else
          iN(w, in, m, 2,
             [&](u64* x) { return t.k == KS ? ((i64)x[0] < (i64)x[1] ? x[0] : x[1]) : std::min(x[0], x[1]); });
        return;
      case MAX:
        if (isF(t))
          fN(w, in, m, 2, [](double* x) { return x[0] != x[0] ? x[1] : x[1] != x[1] ? x[0] : std::max(x[0], x[1]); });
        else
          iN(w, in, m, 2,
             [&](u64* x) { return t.k == KS ? ((i64)x[0] > (i64)x[1] ? x[0] : x[1]) : std::max(x[0], x[1]); });
        return;
      case ABS:
        if (isF(t))
          fN(w, in, m, 1, [](double* x) { return std::fabs(x[0]); });
        else
          iN(w, in, m, 1, [](u64* x) { return (i64)x[0] < 0 ? -x[0] : x[0]; });
        return;
      case NEG:
        if (isF(t))
          fN(w, in, m, 1, [](double* x) { return -x[0]; });
        else
          iN(w, in, m, 1, [](u64* x) { return -x[0]; });
        return;
      case COPYSIGN:
        fN(w, in, m, 2, [](double* x) { return std::copysign(x[1], x[0]); });
        return;
      case AND:
      case OR:
      case XOR:
        if (t.k == KP) {
          u32 a = prd(w, in.o[1]), b = prd(w, in.o[2]);
          u32 r = in.op == AND ? a & b : in.op == OR ? a | b : a ^ b;
          u32& P = w.P[in.o[0].idx];
          P = (P & ~m) | (r & m);
          return;
        }
        {
          int o = in.op;
          iN(w, in, m, 2, [o](u64* x) { return o == AND ? x[0] & x[1] : o == OR ? x[0] | x[1] : x[0] ^ x[1]; });
        }
        return;
      case NOT:
        if (t.k == KP) {
          u32 r = ~prd(w, in.o[1]);
          u32& P = w.P[in.o[0].idx];
          P = (P & ~m) | (r & m);
          return;
        }
        iN(w, in, m, 1, [](u64* x) { return ~x[0]; });
        return;
      case SHL: {
        u64* d = dst(w, in.o[0]);
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1);
        u64 mk = t.bits == 64 ? ~0ull : (1ull << t.bits) - 1;
        lanes(m, [&](int l) {
          u32 s = (u32)b[l];
          d[l] = s >= t.bits ? 0 : (a[l] << s) & mk;
        });
        return;
      }
      case SHR: {
        u64* d = dst(w, in.o[0]);
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1);
        u64 mk = t.bits == 64 ? ~0ull : (1ull << t.bits) - 1;
        lanes(m, [&](int l) {
          u32 s = (u32)b[l];
          u64 v = ext(a[l], t);
          d[l] = (t.k == KS ? (u64)((i64)v >> (s >= t.bits ? t.bits - 1 : s)) : (s >= t.bits ? 0 : v >> s)) & mk;
        });
        return;
      }
      case SHF: {
        u64* d = dst(w, in.o[0]);
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1), *c = src(w, in.o[3], 2);
        lanes(m, [&](int l) {
          u32 s = (u32)c[l];
          s = (in.f & F_WRAP) ? s & 31 : std::min(s, 32u);
          u64 v = (u64)(u32)b[l] << 32 | (u32)a[l];
          d[l] = (in.f & F_LEFT) ? (u32)((s == 0 ? v : (v << s)) >> 32) : (u32)(v >> s);
        });
        return;
      }
      case BFE: {
        u64* d = dst(w, in.o[0]);
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1), *c = src(w, in.o[3], 2);
        lanes(m, [&](int l) {
          u32 pos = b[l] & 255, len = c[l] & 255;
          u64 v = ext(a[l], Ty{KU, t.bits});
          u64 r = pos >= t.bits ? 0 : v >> pos;
          if (len < t.bits) r &= (1ull << len) - 1;
          if (t.k == KS && len) {
            u32 sb = std::min<u32>(pos + len - 1, t.bits - 1);
            if ((v >> sb) & 1) r |= ~0ull << std::min<u32>(len, 63);
            if (len >= 64) {
            }
          }
          d[l] = t.bits == 64 ? r : (u32)r;
        });
        return;
      }
      case BFI: {
        u64* d = dst(w, in.o[0]);
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1), *c = src(w, in.o[3], 2), *e = src(w, in.o[4], 3);
        lanes(m, [&](int l) {
          u32 pos = c[l] & 255, len = e[l] & 255;
          u64 mk = (len >= 64 ? ~0ull : (1ull << len) - 1);
          mk = pos >= 64 ? 0 : mk << pos;
          u64 r = (b[l] & ~mk) | ((pos >= 64 ? 0 : a[l] << pos) & mk);
          d[l] = t.bits == 64 ? r : (u32)r;
        });
        return;
      }
      case POPC: {
        u64* d = dst(w, in.o[0]);
        const u64* a = src(w, in.o[1], 0);
        lanes(m, [&](int l) { d[l] = __builtin_popcountll(ext(a[l], Ty{KU, t.bits})); });
        return;
      }
      case CLZ: {
        u64* d = dst(w, in.o[0]);
        const u64* a = src(w, in.o[1], 0);
        lanes(m, [&](int l) {
          u64 v = ext(a[l], Ty{KU, t.bits});
          d[l] = v ? __builtin_clzll(v) - (64 - t.bits) : t.bits;
        });
        return;
      }
      case BREV:
        iN(w, in, m, 1, [&](u64* x) {
          u64 r = 0;
          for (int i = 0; i < t.bits; i++)
            if ((x[0] >> i) & 1) r |= 1ull << (t.bits - 1 - i);
          return r;
        });
        return;
      case PRMT: {
        u64* d = dst(w, in.o[0]);
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1), *c = src(w, in.o[3], 2);
        lanes(m, [&](int l) {
          u64 v = (u64)(u32)b[l] << 32 | (u32)a[l];
          u32 r = 0;
          for (int i = 0; i < 4; i++) {
            u32 s = (c[l] >> (4 * i)) & 15;
            u8 y = v >> (8 * (s & 7));
            if (s & 8) y = (y & 0x80) ? 0xff : 0;
            r |= (u32)y << (8 * i);
          }
          d[l] = r;
        });
        return;
      }
      case LOP3: {
        u64* d = dst(w, in.o[0]);
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1), *c = src(w, in.o[3], 2);
        u32 lut = in.o[4].imm;
        lanes(m, [&](int l) {
          u32 r = 0, A = a[l], Bq = b[l], Cq = c[l];
          for (int k = 0; k < 8; k++)
            if ((lut >> k) & 1) r |= ((k & 4) ? A : ~A) & ((k & 2) ? Bq : ~Bq) & ((k & 1) ? Cq : ~Cq);
          d[l] = r;
        });
        return;
      }
      case SELP: {
        u64* d = dst(w, in.o[0]);
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1);
        u32 p = prd(w, in.o[3]);
        lanes(m, [&](int l) { d[l] = (p >> l) & 1 ? a[l] : b[l]; });
        return;
      }
      case SETP:
      case SET: {
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1);
        Ty ct = in.op == SET ? in.t2 : t;
        u32 r = 0;
        if (isF(ct))
          lanes(m, [&](int l) {
            double x, y;
            bool un;
            fget(a[l], ct, x);
            fget(b[l], ct, y);
            if (cmp(in.cmp, x, y, un)) r |= 1u << l;
          });
        else if (ct.k == KS)
          lanes(m, [&](int l) {
            if (icmp<i64>(in.cmp, (i64)ext(a[l], ct), (i64)ext(b[l], ct))) r |= 1u << l;
          });
        else
          lanes(m, [&](int l) {
            if (icmp<u64>(in.cmp, ext(a[l], ct), ext(b[l], ct))) r |= 1u << l;
          });
        if (in.op == SET) {
          u64* d = dst(w, in.o[0]);
          lanes(m, [&](int l) { d[l] = (r >> l) & 1 ? (isF(t) ? bc<u32>(1.f) : 0xffffffffu) : 0; });
          return;
        }
        u32 nr = ~r;
        if (in.bop && in.o.size() > 3) {
          u32 c = prd(w, in.o[3]);
          r = in.bop == 1 ? r & c : in.bop == 2 ? r | c : r ^ c;
          nr = in.bop == 1 ? nr & c : in.bop == 2 ? nr | c : nr ^ c;
        }
        if (in.o[0].k != O_SINK) {
          u32& P = w.P[in.o[0].idx];
          P = (P & ~m) | (r & m);
        }
        if (in.o[0].idx2 >= 0) {
          u32& Q = w.P[in.o[0].idx2];
          Q = (Q & ~m) | (nr & m);
        }
        return;
      }
      case TESTP: {
        const u64* a = src(w, in.o[1], 0);
        u32 r = 0;
        lanes(m, [&](int l) {
          double x;
          fget(a[l], t, x);
          bool q = in.m1 == 0   ? std::isfinite(x)
                   : in.m1 == 1 ? std::isinf(x)
                   : in.m1 == 2 ? x == x
                   : in.m1 == 3 ? x != x
                                : std::isnormal(x);
          if (q) r |= 1u << l;
        });
        u32& P = w.P[in.o[0].idx];
        P = (P & ~m) | r;
        return;
      }
      case CVT:
        cvt(w, in, m);
        return;
      case CVTA: {
        u64* d = dst(w, in.o[0]);
        const u64* a = src(w, in.o[1], 0);
        u64 base = in.sp == SP_SHARED ? SH_WIN : in.sp == SP_LOCAL ? LO_WIN : 0;
        if (in.f & F_TO)
          lanes(m, [&](int l) {
            if (base && (a[l] < base || a[l] > base + (1u << 24)))
              report(&in, "cvta", "generic address is not in the shared/local window");
            d[l] = a[l] - base;
          });
        else
          lanes(m, [&](int l) { d[l] = a[l] + base; });
        return;
      }
      case MOV: {
        const Opd &D0 = in.o[0], &S0 = in.o[1];
        if (D0.k == O_PRED) {
          u32 v = prd(w, S0);
          u32& P = w.P[D0.idx];
          P = (P & ~m) | (v & m);
          return;
        }
        if (D0.k == O_VEC) {
          const u64* a = src(w, S0, 0);
          u32 eb = t.bits / D0.v.size();
          u64 mk = (1ull << eb) - 1;
          u64 sv[32];
          memcpy(sv, a, sizeof sv);
          for (size_t i = 0; i < D0.v.size(); i++) {
            if (D0.v[i].k == O_SINK) continue;
            u64* d = dst(w, D0.v[i]);
            lanes(m, [&](int l) { d[l] = (sv[l] >> (eb * i)) & mk; });
          }
          return;
        }
        u64* d = dst(w, D0);
        if (S0.k == O_VEC) {
          u32 eb = t.bits / S0.v.size();
          u64 mk = eb == 64 ? ~0ull : (1ull << eb) - 1;
          u64 r[32] = {};
          for (size_t i = 0; i < S0.v.size(); i++) {
            const u64* a = src(w, S0.v[i], 0);
            lanes(m, [&](int l) { r[l] |= (a[l] & mk) << (eb * i); });
          }
          lanes(m, [&](int l) { d[l] = r[l]; });
          return;
        }
        if (S0.k == O_LABEL && S0.sym == "@param") {
          lanes(m, [&](int l) { d[l] = S0.off; });
          return;
        }
        const u64* a = src(w, S0, 0);
        u64 mk = t.bits == 64 ? ~0ull : (1ull << t.bits) - 1;
        lanes(m, [&](int l) { d[l] = a[l] & mk; });
        return;
      }
      case EX2:
        L.st.sfu++;
        fN(w, in, m, 1, [](double* x) { return (double)exp2f((float)x[0]); });
        return;
      case LG2:
        L.st.sfu++;
        fN(w, in, m, 1, [](double* x) { return (double)log2f((float)x[0]); });
        return;
      case RCP:
        L.st.sfu++;
        fN(w, in, m, 1, [&](double* x) { return t.bits == 32 ? (double)(1.f / (float)x[0]) : 1 / x[0]; });
        return;
      case RSQRT:
        L.st.sfu++;
        fN(w, in, m, 1, [&](double* x) { return 1 / std::sqrt(x[0]); });
        return;
      case SQRT:
        L.st.sfu++;
        fN(w, in, m, 1, [&](double* x) { return t.bits == 32 ? (double)sqrtf((float)x[0]) : std::sqrt(x[0]); });
        return;
      case SIN:
        fN(w, in, m, 1, [](double* x) { return std::sin(x[0]); });
        return;
      case COS:
        fN(w, in, m, 1, [](double* x) { return std::cos(x[0]); });
        return;
      case TANH:
        L.st.sfu++;
        fN(w, in, m, 1, [](double* x) { return std::tanh(x[0]); });
        return;
      case SHFL: {
        u64* d = dst(w, in.o[0]);
        const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1), *c = src(w, in.o[3], 2);
        u64 v[32];
        memcpy(v, a, sizeof v);
        u32 pr = 0;
        u64 r[32];
        lanes(m, [&](int l) {
          u32 cv = c[l] & 31, seg = (c[l] >> 8) & 31;
          int bv = b[l] & 31;
          int mx = (l & seg) | (cv & ~seg), mn = l & seg, j;
          bool p;
          switch (in.m1) {
            case 0:
              j = l - bv;
              p = j >= mx;
              break;
            case 1:
              j = l + bv;
              p = j <= mx;
              break;
            case 2:
              j = l ^ bv;
              p = j <= mx;
              break;
            default:
              j = mn | (bv & ~seg);
              p = j <= mx;
          }
          if (!p)
            j = l;
          else
            pr |= 1u << l;
          if (!((m >> j) & 1)) report(&in, "shfl-inactive", "shuffle reads inactive lane " + std::to_string(j));
          r[l] = v[j] & 0xffffffffu;
        });
        lanes(m, [&](int l) { d[l] = r[l]; });
        if (in.o[0].idx2 >= 0) {
          u32& P = w.P[in.o[0].idx2];
          P = (P & ~m) | pr;
        }
        return;
      }
      case MATCH: {
        u64* d = dst(w, in.o[0]);
        const u64* a = src(w, in.o[1], 0);
        u64 v[32];
        memcpy(v, a, sizeof v);
        u64 mk = in.t.bits == 64 ? ~0ull : 0xffffffffull;
        lanes(m, [&](int l) {
          u64 r = 0;
          for (int j = 0; j < 32; j++)
            if ((m >> j & 1) && ((v[j] ^ v[l]) & mk) == 0) r |= 1ull << j;
          d[l] = r;
        });
        return;
      }
      case VOTE: {
        u32 p = prd(w, in.o[1]) & m;
        if (in.m1 == 0) {
          u64* d = dst(w, in.o[0]);
          lanes(m, [&](int l) { d[l] = p; });
        } else {
          bool r = in.m1 == 1 ? p != 0 : in.m1 == 2 ? p == m : (p == 0 || p == m);
          u32& P = w.P[in.o[0].idx];
          P = (P & ~m) | (r ? m : 0);
        }
        return;
      }
      case REDUX: {
        const u64* a = src(w, in.o[1], 0);
        u64 r = 0;
        bool f = true;
        lanes(m, [&](int l) {
          r = f ? a[l] : rmw(in.m1, t, r, a[l], 0);
          f = false;
        });
        u64* d = dst(w, in.o[0]);
        lanes(m, [&](int l) { d[l] = (u32)r; });
        return;
      }
      case ACTIVEMASK: {
        u64* d = dst(w, in.o[0]);
        lanes(m, [&](int l) { d[l] = m; });
        return;
      }
      case ELECT: {
        u32& P = w.P[in.o[0].idx2];
        P = (P & ~m) | (m & -m);
        if (in.o[0].k == O_REG) {
          u64* d = dst(w, in.o[0]);
          lanes(m, [&](int l) { d[l] = __builtin_ctz(m); });
        }
        return;
      }
      case BARWARP:
        w.sync++;
        return;
      case ATOM:
      case RED: {
        bool at = in.op == ATOM;
        L.st.atom++;
        const Opd& mo = in.o[at ? 1 : 0];
        u64 a[32];
        addrs(w, mo, m, a);
        u32 n = t.bits / 8;
        const u64 *b = src(w, in.o[at ? 2 : 1], 1), *c = in.m1 == 7 ? src(w, in.o[3], 2) : nullptr;
        u64* d = at ? dst(w, in.o[0]) : nullptr;
        u64 r[32];
        lanes(m, [&](int l) {
          u64 x = a[l];
          Space sp = resolve(x, in.sp);
          u8* p;
          if (sp == SP_SHARED) {
            bool rs = C.races;
            C.races = false;
            shCheck(w, in, (u32)x, n, l, false);
            C.races = rs;
            p = &sh[x];
            memset(&shI[x], 1, n);
          } else
            p = glob(in, x, n, true, true, l);
          u64 o = rd(p, n);
          u64 v = rmw(in.m1, t, o, b[l], c ? c[l] : 0);
          memcpy(p, &v, n);
          r[l] = o;
        });
        if (d) lanes(m, [&](int l) { d[l] = r[l]; });
        return;
      }
      case CPASYNC: {
        u64 da[32], sa[32];
        addrs(w, in.o[0], m, da);
        addrs(w, in.o[1], m, sa);
        u32 n = (u32)in.o[2].imm;
        const u64* ss = in.o.size() > 3 ? src(w, in.o[3], 1) : nullptr;
        L.st.cpa++;
        if (C.perf) {
          L.st.cpaWave += waves(m, da, n, &L.st.cpaIdeal);
          u32 mm = m;
          if (ss)
            lanes(m, [&](int l) {
              if (!(u32)ss[l]) mm &= ~(1u << l);
            });
          u64 rq = 0, id = 0;
          if (mm) perfG(mm, sa, n, rq, L.st.cpaSect, id);
        }
        lanes(m, [&](int l) {
          u32 sn = ss ? std::min<u32>((u32)ss[l], n) : n;
          da[l] &= 0xffffffff;
          if (sn) {
            u8* p = glob(in, sa[l], n == sn ? n : 1, false, false, l);
            (void)p;
            if (sa[l] % n) report(&in, "misaligned", "cp.async source");
          }
          bool u = C.uninit;
          shCheck(w, in, (u32)da[l], n, l, true, true);
          C.uninit = u;
          memset(&shI[da[l]], 0, n);
          memset(&sh[da[l]], 0xFF, n);
          w.pend.push_back({(u32)l, (u32)da[l], sa[l], n, sn});
        });
        return;
      }
      case CPCOMMIT: {
        CpG g;
        g.mask = m;
        for (auto& o : w.pend) g.ops.push_back(o);
        w.pend.clear();
        w.cg.push_back(std::move(g));
        return;
      }
      case CPWAIT: {
        if (in.m2 && !w.pend.empty()) {
          CpG g;
          g.mask = m;
          g.ops = w.pend;
          w.pend.clear();
          w.cg.push_back(g);
        }
        while ((int)w.cg.size() > in.m1) {
          for (auto& o : w.cg[0].ops) cpComplete(w, o);
          w.cg.erase(w.cg.begin());
        }
        return;
      }
      case LDMATRIX:
        ldmat(w, in, m, false);
        return;
      case STMATRIX:
        ldmat(w, in, m, true);
        return;
      case MMA:
        mmaop(w, in, m);
        return;
      case MBAR_INIT: {
        u64 a[32];
        addrs(w, in.o[0], m, a);
        const u64* c = src(w, in.o[1], 0);
        lanes(m, [&](int l) {
          Mbar b;
          b.expect = (u32)c[l];
          b.valid = true;
          b.vc.assign(nw, 0);
          mb[(u32)a[l]] = b;
        });
        return;
      }
      case MBAR_ARRIVE:
      case MBAR_EXPECT: {
        const Opd& mo = in.o[0].k == O_MEM ? in.o[0] : in.o[1];
        u64 a[32];
        addrs(w, mo, m, a);
        const u64* tx = in.op == MBAR_EXPECT ? src(w, in.o.back(), 1) : nullptr;
        lanes(m, [&](int l) {
          Mbar& b = mb[(u32)a[l]];
          if (!b.valid) {
            report(&in, "mbarrier", "arrive on uninitialised mbarrier");
            throw Fault("mbarrier");
          }
          if (tx) b.tx += (i64)(u32)tx[l];
          b.arrived++;
          for (u32 i = 0; i < nw; i++) b.vc[i] = std::max(b.vc[i], w.vc[i]);
          mbStep(b, 0);
        });
        w.vc[w.id]++;
        return;
      }
      case MBAR_INVAL:
        return;
      case CPBULK: {
        u64 da[32], sa[32], ba[32];
        addrs(w, in.o[0], m, da);
        addrs(w, in.o[1], m, sa);
        const u64* n = src(w, in.o[2], 1);
        addrs(w, in.o[3], m, ba);
        lanes(m, [&](int l) {
          u32 k = (u32)n[l];
          if (k % 16 || da[l] % 16 || sa[l] % 16)
            report(&in, "misaligned", "cp.async.bulk needs 16-byte size and addresses");
          for (u32 i = 0; i < k; i += 16) {
            u8* p = glob(in, sa[l] + i, 16, false, false, l);
            shCheck(w, in, (u32)da[l] + i, 16, l, true);
            memcpy(&sh[da[l] + i], p, 16);
            memset(&shI[da[l] + i], 1, 16);
          }
          Mbar& b = mb[(u32)ba[l]];
          b.tx -= k;
          for (u32 i = 0; i < nw; i++) b.vc[i] = std::max(b.vc[i], w.vc[i]);
          mbStep(b, 0);
          L.st.cpaSect += k / 32;
        });
        return;
      }
      case WGMMA:
        wgmma(w, in, m);
        return;
      case WGMMA_CTL:
        if (in.m1 == 1) {
          w.wgG.push_back(w.wgOpen);
          w.wgOpen.clear();
        } else if (in.m1 == 2) {
          int n = (int)in.o[0].imm;
          while ((int)w.wgG.size() > n) {
            for (int r : w.wgG[0]) w.wgp[r] = 0;
            w.wgG.erase(w.wgG.begin());
          }
          if (n == 0 && w.wgOpen.empty()) w.wgAny = false;
        }
        return;
      case CALL: {
        std::string t2;
        for (auto& o : in.o)
          if (o.k == O_LABEL) t2 = o.sym;
        if (t2 == "__assertfail") {
          report(&in, "assert", "device assert");
          throw Fault("assert");
        }
        if (t2 == "vprintf") return;
        throw Fault("call of non-inlined function " + t2);
      }
      default:
        throw Fault("not implemented: " + in.txt);
    }
  }
  void mulad(Warp& w, Ins& in, u32 m, bool add) {
    u64* d = dst(w, in.o[0]);
    const u64 *a = src(w, in.o[1], 0), *b = src(w, in.o[2], 1), *c = add ? src(w, in.o[3], 2) : nullptr;
    Ty t = in.t;
    u64 mk = t.bits == 64 ? ~0ull : (1ull << t.bits) - 1;
    if (in.f & F_WIDE) {
      u64 wm = t.bits == 32 ? ~0ull : 0xffffffffull;
      lanes(m, [&](int l) {
        u64 r = ext(a[l], t) * ext(b[l], t) + (c ? c[l] : 0);
        d[l] = r & wm;
      });
      return;
    }
    if (in.f & F_HI) {
      lanes(m, [&](int l) {
        u64 h;
        if (t.bits == 64)
          h = t.k == KS ? (u64)(((__int128)(i64)a[l] * (i64)b[l]) >> 64)
                        : (u64)(((unsigned __int128)a[l] * b[l]) >> 64);
        else
          h = t.k == KS ? (u64)(((i64)ext(a[l], t) * (i64)ext(b[l], t)) >> t.bits)
                        : (ext(a[l], t) * ext(b[l], t)) >> t.bits;
        d[l] = (h + (c ? c[l] : 0)) & mk;
      });
      return;
    }
    lanes(m, [&](int l) { d[l] = (ext(a[l], t) * ext(b[l], t) + (c ? c[l] : 0)) & mk; });
  }
};
// ---------------------------------------------------------------- roofline
struct Gpu {
  const char* name;
  int sms;
  double ghz, dram, l2;
  double mmaFlopClkSM;
  double smemB;
  double fp32;
  int smem;
};
static const Gpu GPUS[] = {{"H100-SXM (mma.sync)", 132, 1.755, 3.0e12, 5.5e12, 2560, 128, 256, 227},
                           {"A100-SXM80", 108, 1.41, 1.75e12, 4.0e12, 2048, 128, 128, 163},
                           {"RTX4090", 128, 2.52, 0.95e12, 3.5e12, 1024, 128, 256, 99}};
static inline void roofline(const Stats& s, double scale, FILE* o) {
  for (auto& g : GPUS) {
    double clk = g.ghz * 1e9;
    double t[6] = {s.mmaFlops * scale / (g.mmaFlopClkSM * g.sms * clk),
                   s.fma * 32 * 2 * scale / (g.fp32 * g.sms * clk),
                   (s.uniqRd + s.uniqWr) * 32.0 * scale / g.dram,
                   (s.gldSect + s.gstSect + s.cpaSect) * 32.0 * scale / g.l2,
                   (s.sldWave + s.sstWave + s.ldmWave + s.cpaWave) * scale / (g.sms * clk),
                   s.winst * scale / (4.0 * g.sms * clk)};
    const char* nm[] = {"tensor", "fp32", "DRAM", "L2", "smem", "issue"};
    int b = 0;
    for (int i = 1; i < 6; i++)
      if (t[i] > t[b]) b = i;
    fprintf(o, "  %-20s tensor %.2f fp32 %.2f DRAM %.2f L2 %.2f smem %.2f issue %.2f us -> bound by %s\n", g.name,
            t[0] * 1e6, t[1] * 1e6, t[2] * 1e6, t[3] * 1e6, t[4] * 1e6, t[5] * 1e6, nm[b]);
  }
}
static inline void printStats(const Stats& s, FILE* o) {
  fprintf(o, "  ctas %llu warp-inst %.3fM lanes/inst %.1f mma %llu (%.2f GFLOP) bar %llu div.branch %llu/%llu\n",
          (unsigned long long)s.ctas, s.winst / 1e6, s.winst ? (double)s.linst / s.winst : 0, (unsigned long long)s.mma,
          s.mmaFlops / 1e9, (unsigned long long)s.bar, (unsigned long long)s.divBra, (unsigned long long)s.bra);
  fprintf(o,
          "  global ld %llu req %llu sect (ideal %llu)  st %llu req %llu sect (ideal %llu)  cp.async %llu inst %llu "
          "sect  unique read %.2f MB written %.2f MB\n",
          (unsigned long long)s.gldReq, (unsigned long long)s.gldSect, (unsigned long long)s.gldIdeal,
          (unsigned long long)s.gstReq, (unsigned long long)s.gstSect, (unsigned long long)s.gstIdeal,
          (unsigned long long)s.cpa, (unsigned long long)s.cpaSect, s.uniqRd * 32 / 1e6, s.uniqWr * 32 / 1e6);
  fprintf(o,
          "  shared ld %llu req %llu waves (ideal %llu)  st %llu/%llu(%llu)  ldmatrix %llu tiles %llu waves  cp.async "
          "waves %llu (ideal %llu)\n",
          (unsigned long long)s.sldReq, (unsigned long long)s.sldWave, (unsigned long long)s.sldIdeal,
          (unsigned long long)s.sstReq, (unsigned long long)s.sstWave, (unsigned long long)s.sstIdeal,
          (unsigned long long)s.ldmReq, (unsigned long long)s.ldmWave, (unsigned long long)s.cpaWave,
          (unsigned long long)s.cpaIdeal);
}
}  // namespace ptxsim
