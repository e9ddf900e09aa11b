// Mnemonics: the opcode and what each of its modifiers means.
#include <algorithm>
#include <cstdio>
#include <unordered_map>

#include "parser.h"

namespace ptxsim {

Type parse_type(const std::string& name) {
  static const std::unordered_map<std::string, Type> kTypes = {
      {"u8", {Kind::uint, 8}},        {"u16", {Kind::uint, 16}},  {"u32", {Kind::uint, 32}},
      {"u64", {Kind::uint, 64}},      {"s8", {Kind::sint, 8}},    {"s16", {Kind::sint, 16}},
      {"s32", {Kind::sint, 32}},      {"s64", {Kind::sint, 64}},  {"b8", {Kind::bits, 8}},
      {"b16", {Kind::bits, 16}},      {"b32", {Kind::bits, 32}},  {"b64", {Kind::bits, 64}},
      {"f16", {Kind::real, 16}},      {"f32", {Kind::real, 32}},  {"f64", {Kind::real, 64}},
      {"pred", {Kind::predicate, 1}}, {"bf16", {Kind::bf16, 16}}, {"bf16x2", {Kind::bf16x2, 32}},
      {"f16x2", {Kind::f16x2, 32}},   {"tf32", {Kind::tf32, 32}}};
  const auto found = kTypes.find(name);
  return found == kTypes.end() ? Type{} : found->second;
}

namespace {

const std::unordered_map<std::string, Op> kOps = {
    {"add", Op::add},
    {"sub", Op::sub},
    {"addc", Op::addc},
    {"subc", Op::subc},
    {"mul", Op::mul},
    {"mad", Op::mad},
    {"madc", Op::madc},
    {"fma", Op::fma},
    {"div", Op::div},
    {"rem", Op::rem},
    {"min", Op::min},
    {"max", Op::max},
    {"abs", Op::abs},
    {"neg", Op::neg},
    {"and", Op::and_},
    {"or", Op::or_},
    {"xor", Op::xor_},
    {"not", Op::not_},
    {"shl", Op::shl},
    {"shr", Op::shr},
    {"shf", Op::shf},
    {"bfe", Op::bfe},
    {"bfi", Op::bfi},
    {"bfind", Op::bfind},
    {"popc", Op::popc},
    {"clz", Op::clz},
    {"brev", Op::brev},
    {"prmt", Op::prmt},
    {"lop3", Op::lop3},
    {"sad", Op::sad},
    {"mul24", Op::mul24},
    {"mad24", Op::mad24},
    {"dp4a", Op::dp4a},
    {"cnot", Op::cnot},
    {"selp", Op::selp},
    {"slct", Op::slct},
    {"setp", Op::setp},
    {"set", Op::set},
    {"cvt", Op::cvt},
    {"cvta", Op::cvta},
    {"isspacep", Op::isspacep},
    {"mov", Op::mov},
    {"ex2", Op::ex2},
    {"lg2", Op::lg2},
    {"rcp", Op::rcp},
    {"rsqrt", Op::rsqrt},
    {"sqrt", Op::sqrt},
    {"sin", Op::sin},
    {"cos", Op::cos},
    {"tanh", Op::tanh},
    {"copysign", Op::copysign},
    {"testp", Op::testp},
    {"shfl", Op::shfl},
    {"vote", Op::vote},
    {"match", Op::match},
    {"redux", Op::redux},
    {"activemask", Op::activemask},
    {"elect", Op::elect},
    {"ld", Op::ld},
    {"ldu", Op::ld},
    {"st", Op::st},
    {"atom", Op::atom},
    {"red", Op::red},
    {"ldmatrix", Op::ldmatrix},
    {"stmatrix", Op::stmatrix},
    {"movmatrix", Op::movmatrix},
    {"mma", Op::mma},
    {"bra", Op::bra},
    {"brx", Op::brx},
    {"ret", Op::ret},
    {"exit", Op::exit},
    {"trap", Op::trap},
    {"call", Op::call},
    {"membar", Op::nop},
    {"prefetch", Op::nop},
    {"prefetchu", Op::nop},
    {"nanosleep", Op::nop},
    {"griddepcontrol", Op::nop},
    {"applypriority", Op::nop},
    {"discard", Op::nop},
    {"setmaxnreg", Op::nop},
    {"pmevent", Op::nop},
    {"brkpt", Op::nop},
};

const std::unordered_map<std::string, u32> kFlags = {
    {"hi", kHigh},
    {"lo", kLow},
    {"wide", kWide},
    {"ftz", kFlushSubnormal},
    {"sat", kSaturate},
    {"rni", kToNearest},
    {"rzi", kToZero},
    {"rz", kToZero},
    {"rmi", kDown},
    {"rm", kDown},
    {"rpi", kUp},
    {"rp", kUp},
    {"wrap", kWrap},
    {"trans", kTranspose},
    {"to", kTo},
    {"relu", kRelu},
    {"cc", kCarryOut},
    {"arrive", kArrive},
    {"NaN", kNanWins},
    {"volatile", kSynchronises},
    {"relaxed", kSynchronises},
    {"acquire", kSynchronises},
    {"release", kSynchronises},
    {"shiftamt", kShift},
};

const std::unordered_map<std::string, Compare> kCompares = {
    {"eq", Compare::eq},   {"ne", Compare::ne},   {"lt", Compare::lt},   {"le", Compare::le},   {"gt", Compare::gt},
    {"ge", Compare::ge},   {"equ", Compare::equ}, {"neu", Compare::neu}, {"ltu", Compare::ltu}, {"leu", Compare::leu},
    {"gtu", Compare::gtu}, {"geu", Compare::geu}, {"num", Compare::num}, {"nan", Compare::nan}, {"lo", Compare::lo},
    {"ls", Compare::ls},   {"hi", Compare::hi},   {"hs", Compare::hs}};

const std::unordered_map<std::string, Reduction> kReductions = {
    {"add", Reduction::add},       {"min", Reduction::min},     {"max", Reduction::max},
    {"and", Reduction::and_},      {"or", Reduction::or_},      {"xor", Reduction::xor_},
    {"exch", Reduction::exchange}, {"cas", Reduction::compare}, {"inc", Reduction::increment},
    {"dec", Reduction::decrement}, {"popc", Reduction::popc}};

class Decoder {
 public:
  Decoder(Instruction& in, const std::string& mnemonic) : in_(in), mnemonic_(mnemonic) {
    for (size_t start = 0; start <= mnemonic.size();) {
      const size_t dot = std::min(mnemonic.find('.', start), mnemonic.size());
      words_.push_back(mnemonic.substr(start, dot - start));
      start = dot + 1;
    }
  }

  void run() {
    modifiers();
    const auto op = kOps.find(words_[0]);
    if (op != kOps.end())
      in_.op = op->second;
    else
      family();
    specifics();
  }

 private:
  bool has(const char* word) const { return std::find(words_.begin() + 1, words_.end(), word) != words_.end(); }
  [[noreturn]] void unsupported() const { throw PtxError("not supported: " + mnemonic_); }

  template <class T>
  bool lookup(const std::unordered_map<std::string, T>& table, u8& out) const {
    for (size_t i = words_.size(); i-- > 1;) {
      const auto found = table.find(words_[i]);
      if (found == table.end()) continue;
      out = static_cast<u8>(found->second);
      return true;
    }
    return false;
  }

  void modifiers() {
    for (size_t i = 1; i < words_.size(); ++i) {
      const std::string& word = words_[i];
      if (const Type type = parse_type(word); type.kind != Kind::none) {
        types_.push_back(type);
      } else if (const auto flag = kFlags.find(word); flag != kFlags.end()) {
        in_.flags |= flag->second;
      } else if (word == "v2" || word == "v4" || word == "v8" || word == "x2" || word == "x4") {
        in_.vector = static_cast<u8>(word[1] - '0');
      } else if (in_.space == Space::generic) {
        in_.space = word == "global"             ? Space::global
                    : word.starts_with("shared") ? Space::shared
                    : word == "local"            ? Space::local
                    : word.starts_with("param")  ? Space::param
                    : word == "const"            ? Space::global
                                                 : Space::generic;
      }
    }
    if (!types_.empty()) in_.type = types_[0];
    in_.type2 = types_.size() > 1 ? types_[1] : in_.type;
  }

  // Mnemonics whose modifiers name the operation.
  void family() {
    const std::string& name = words_[0];
    if (name == "bar" || name == "barrier") {
      if (has("cluster")) unsupported();
      in_.op = has("warp") ? Op::bar_warp : Op::bar;
      if (has("red")) in_.flags |= kReduce;
    } else if (name == "cp") {
      if (has("tensor")) unsupported();
      if (has("bulk"))
        in_.op = has("commit_group") || has("wait_group") ? Op::nop : Op::cp_bulk;
      else
        in_.op = has("commit_group")                    ? Op::cp_async_commit
                 : has("wait_group") || has("wait_all") ? Op::cp_async_wait
                 : has("mbarrier")                      ? (unsupported(), Op::nop)
                                                        : Op::cp_async;
    } else if (name == "mbarrier") {
      in_.op = has("init")                           ? Op::mbarrier_init
               : has("arrive") && has("expect_tx")   ? Op::mbarrier_expect
               : has("arrive")                       ? Op::mbarrier_arrive
               : has("try_wait") || has("test_wait") ? Op::mbarrier_wait
               : has("inval")                        ? Op::mbarrier_inval
                                                     : (unsupported(), Op::nop);
    } else if (name == "wgmma") {
      in_.op = has("mma_async")      ? Op::wgmma
               : has("commit_group") ? Op::wgmma_commit
               : has("wait_group")   ? Op::wgmma_wait
                                     : Op::wgmma_fence;
    } else if (name == "fence") {
      in_.op = has("proxy") ? Op::fence_proxy : Op::nop;
    } else {
      unsupported();
    }
  }

  void specifics() {
    switch (in_.op) {
      case Op::setp:
      case Op::set: {
        in_.flags &= ~(kLow | kHigh);
        if (!lookup(kCompares, in_.mode)) unsupported();
        in_.combine = has("and")   ? Combine::and_
                      : has("or")  ? Combine::or_
                      : has("xor") ? Combine::xor_
                                   : Combine::none;
        if (in_.op == Op::setp) in_.type = types_.back();
        break;
      }
      case Op::shfl:
        in_.mode = static_cast<u8>(has("up")     ? Shuffle::up
                                   : has("down") ? Shuffle::down
                                   : has("bfly") ? Shuffle::butterfly
                                                 : Shuffle::index);
        break;
      case Op::vote:
        in_.mode = static_cast<u8>(has("ballot") ? Vote::ballot
                                   : has("any")  ? Vote::any
                                   : has("all")  ? Vote::all
                                                 : Vote::uniform);
        break;
      case Op::match:
        if (has("all")) in_.flags |= kAll;
        break;
      case Op::shf:
        if (has("l")) in_.flags |= kLeft;
        break;
      case Op::atom:
      case Op::red:
      case Op::redux:
        in_.type = types_.back();
        in_.flags |= kSynchronises;
        if (!lookup(kReductions, in_.mode)) unsupported();
        break;
      case Op::bar:
        if (in_.has(kReduce) && !lookup(kReductions, in_.mode)) unsupported();
        break;
      case Op::testp:
        in_.mode = static_cast<u8>(has("finite")       ? 0
                                   : has("infinite")   ? 1
                                   : has("number")     ? 2
                                   : has("notanumber") ? 3
                                   : has("normal")     ? 4
                                                       : 5);
        break;
      case Op::mma:
      case Op::wgmma:
        for (const std::string& word : words_)
          if (std::sscanf(word.c_str(), "m%dn%dk%d", &in_.shape[0], &in_.shape[1], &in_.shape[2]) == 3) break;
        break;
      case Op::cp_async_wait:
        in_.count = has("wait_all") ? -1 : static_cast<int>(in_.operands.at(0).value);
        break;
      case Op::wgmma_wait:
        in_.count = static_cast<int>(in_.operands.at(0).value);
        break;
      case Op::bra:
      case Op::brx:
      case Op::ret:
      case Op::exit:
      case Op::call:
        break;
      default:
        break;
    }
    control();
  }

  // What the warp loop must know of an instruction before it runs it.
  void control() {
    switch (in_.op) {
      case Op::shfl:
      case Op::vote:
      case Op::match:
      case Op::redux:
      case Op::bar_warp:
      case Op::elect:
        in_.flags |= kConverged;
        in_.member = static_cast<int>(in_.operands.size()) - 1;
        break;
      case Op::bar:
        in_.flags |= kConverged | kControl;
        break;
      case Op::ldmatrix:
      case Op::stmatrix:
      case Op::movmatrix:
      case Op::mma:
      case Op::wgmma:
        in_.flags |= kConverged;
        break;
      case Op::bra:
      case Op::brx:
      case Op::ret:
      case Op::exit:
      case Op::call:
      case Op::mbarrier_wait:
        in_.flags |= kControl;
        break;
      default:
        break;
    }
  }

  Instruction& in_;
  const std::string& mnemonic_;
  std::vector<std::string> words_;
  std::vector<Type> types_;
};

}  // namespace

void decode(Instruction& in, const std::string& mnemonic) { Decoder(in, mnemonic).run(); }

}  // namespace ptxsim
