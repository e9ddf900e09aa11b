// Every access to memory goes through here: bounds, alignment, initialisation, races.
#include <cstring>

#include "executor.h"

namespace ptxsim {
namespace {

constexpr u32 kAtomicStamp = 1u << 31;
constexpr u32 kSeveralReaders = 1u << 30;
constexpr u32 kStampMask = kSeveralReaders - 1;

std::string of_bytes(const char* what, u32 bytes) {
  return std::string(what) + " of " + std::to_string(bytes) + " bytes at ";
}

}  // namespace

u32 Executor::predicate(Warp& w, const Operand& o) const {
  const u32 value = o.lanes ? (o.value ? kAllLanes : 0) : w.predicates[o.index];
  return o.negated ? ~value : value;
}

void Executor::set_predicate(Warp& w, int index, u32 mask, u32 value) {
  if (index < 0) return;
  u32& p = w.predicates[index];
  p = (p & ~mask) | (value & mask);
}

void Executor::addresses(Warp& w, const Operand& o, u32 mask, u64* out) const {
  const u64 offset = static_cast<u64>(o.offset);
  if (o.base < 0) {
    for (int lane = 0; lane < kLanes; ++lane) out[lane] = offset;
    return;
  }
  const u64* base = w.lanes(o.base);
  each_lane(mask, [&](int lane) { out[lane] = base[lane] + offset; });
}

void Executor::report(const Instruction* in, const std::string& kind, const std::string& message) {
  const std::string where = "block " + std::to_string(block_index_.x) + "," + std::to_string(block_index_.y) + "," +
                            std::to_string(block_index_.z);
  findings_.add(in, kind, message, where);
}

void Executor::fault(const Instruction& in, const std::string& kind, const std::string& message) {
  report(&in, kind, message);
  throw Fault(kind + ": " + message);
}

u8* Executor::global(const Instruction& in, u64 address, const Access& access, int lane) {
  Allocation*& a = hints_[&in - program.code.data()];
  const char* what = access.writes ? "store" : "load";
  if (!a || !a->contains(address, access.bytes)) {
    a = memory.find(address);
    if (!a || !a->contains(address, access.bytes)) {
      const Allocation* near = memory.before(address);
      std::string where = near ? ", " + std::to_string(address - near->base) + " bytes into '" + near->name + "' of " +
                                     std::to_string(near->size)
                               : "";
      a = nullptr;
      if (const int owner = DeviceMemory::device_of(address);
          address >= DeviceMemory::kBase && owner != memory.device())
        fault(in, "global-other-device",
              of_bytes(what, access.bytes) + hex(address) + ", of device " + std::to_string(owner) +
                  " in a kernel of device " + std::to_string(memory.device()));
      fault(in, "global-out-of-bounds",
            of_bytes(what, access.bytes) + hex(address) + where + ", lane " + std::to_string(lane));
    }
  }
  if (address % access.bytes) fault(in, "misaligned", of_bytes(what, access.bytes) + hex(address));
  const u64 at = address - a->base;
  u8* written = &a->written[at];
  if (access.reads) {
    if (const void* gap = std::memchr(written, 0, access.bytes))
      report(&in, "global-uninitialised",
             "reads byte " + std::to_string(at + static_cast<u64>(static_cast<const u8*>(gap) - written)) + " of '" +
                 a->name + "' that nothing wrote");
    SectorUse& sector = a->sectors[at / 32];
    if (sector.read != memory.launch()) {
      sector.read = memory.launch();
      ++counters.unique_read_sectors;
    }
  }
  if (access.writes) {
    std::memset(written, 1, access.bytes);
    SectorUse& sector = a->sectors[at / 32];
    if (sector.written != memory.launch()) {
      sector.written = memory.launch();
      ++counters.unique_written_sectors;
    }
  }
  // Bytes are not distinguished from their neighbours: single-byte accesses of two blocks may share a granule.
  for (u64 g = at / 2; access.bytes > 1 && g < (at + access.bytes) / 2; ++g) {
    GranuleUse& use = a->granules[g];
    const u32 writer = use.writer & kStampMask, reader = use.reader & kStampMask;
    const bool foreign_write = writer >= first_stamp_ && writer != stamp_;
    if (foreign_write && !(access.atomic && (use.writer & kAtomicStamp)))
      report(&in, "inter-block race",
             std::string(access.writes ? "writes" : "reads") + " byte " + std::to_string(g * 2) + " of '" + a->name +
                 "' that another block writes in this launch");
    if (access.writes) {
      const bool foreign_read = reader >= first_stamp_ && (reader != stamp_ || (use.reader & kSeveralReaders));
      if (foreign_read && !access.atomic)
        report(
            &in, "inter-block race",
            "writes byte " + std::to_string(g * 2) + " of '" + a->name + "' that another block reads in this launch");
      use.writer = stamp_ | (access.atomic ? kAtomicStamp : 0);
    } else if (!access.atomic) {
      const bool several = reader >= first_stamp_ && (reader != stamp_ || (use.reader & kSeveralReaders));
      use.reader = stamp_ | (several ? kSeveralReaders : 0);
    }
  }
  return &a->data[at];
}

void Executor::check_shared(const Instruction& in, u32 address, u32 bytes, const char* what) {
  if (u64{address} + bytes > shared->size())
    fault(in, "shared-out-of-bounds", of_bytes(what, bytes) + hex(address) + " of " + hex(shared->size()));
  if (address % bytes) fault(in, "misaligned", "shared " + of_bytes(what, bytes) + hex(address));
}

void Executor::check_pending(const Instruction& in, u32 address, u32 bytes, bool writes) {
  const int warp = shared->pending(address, bytes);
  if (warp < 0) return;
  report(
      &in, writes ? "cp.async-overwritten" : "cp.async-unwaited-read",
      "touches shared " + hex(address) + " while a cp.async of warp " + std::to_string(warp) + " into it is pending");
}

namespace {

void report_race(Executor& ex, Warp& w, const Instruction& in, int lane, const Conflict& conflict) {
  const char* names[] = {"", "read after write", "write after read", "write after write"};
  const bool same_warp = conflict.warp == w.id;
  ex.report(&in, same_warp ? "shared race within a warp" : "shared race",
            std::string(names[static_cast<int>(conflict.race)]) + " at shared " + hex(conflict.address) + ": warp " +
                std::to_string(w.id) + " lane " + std::to_string(lane) + ", unordered with warp " +
                std::to_string(conflict.warp) + " lane " + std::to_string(conflict.lane));
}

}  // namespace

u8* Executor::shared_read(Warp& w, const Instruction& in, u32 address, u32 bytes, int lane) {
  check_shared(in, address, bytes, "load");
  check_pending(in, address, bytes, false);
  if (const i64 gap = shared->first_unwritten(address, bytes); gap >= 0)
    report(&in, "shared-uninitialised",
           "warp " + std::to_string(w.id) + " lane " + std::to_string(lane) + " reads shared " +
               hex(static_cast<u64>(gap)) + " that nothing wrote yet");
  const Accessor who{&w.clock, w.sync, proxy_fences[w.id], static_cast<u8>(w.id), static_cast<u8>(lane)};
  if (const Conflict c = shared->read(who, address, bytes); c.race != Race::none) report_race(*this, w, in, lane, c);
  return shared->data(address);
}

u8* Executor::shared_write(Warp& w, const Instruction& in, u32 address, u32 bytes, int lane) {
  check_shared(in, address, bytes, "store");
  check_pending(in, address, bytes, true);
  if (shared->async_read(address))
    report(&in, "wgmma-overwritten",
           "writes shared " + hex(address) + ", which a wgmma that has not been waited for reads");
  const Accessor who{&w.clock, w.sync, proxy_fences[w.id], static_cast<u8>(w.id), static_cast<u8>(lane)};
  if (const Conflict c = shared->write(who, address, bytes); c.race != Race::none) report_race(*this, w, in, lane, c);
  shared->set_written(address, bytes, true);
  return shared->data(address);
}

}  // namespace ptxsim
