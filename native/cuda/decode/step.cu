// One call for a whole model: the layers one after the other on the new tokens of all sequences. Generation repeats
// steps with one new token for each of a few sequences. Those are recorded as a graph: a hundred small kernels then
// cost one launch.
#include <algorithm>
#include <list>

#include "../graph.cuh"
#include "../pack.cuh"
#include "attention.cuh"
#include "linear.cuh"

namespace sffn::cuda {
namespace {

constexpr size_t kSteps = 8;  // kept; each has space for at most 16 tokens

// learned: the embedding of the positions, if any.
template <class W>
__global__ void __launch_bounds__(kThreads)
    embed_kernel(const W* table, const float* scales, const float* learned, const int64_t* ids,
                 const int64_t* positions, float* x, int64_t size, int64_t width) {
  for (int64_t i = first_item(); i < size; i += item_stride()) {
    const int64_t token = i / width, column = i % width, id = ids[token];
    const float value = static_cast<float>(table[id * width + column]) * (scales ? scales[id] : 1.f);
    x[i] = learned ? value + learned[positions[token] * width + column] : value;
  }
}

__global__ void __launch_bounds__(kThreads)
    gather_rows_kernel(const float* x, const int64_t* rows, float* y, int64_t size, int64_t width) {
  for (int64_t i = first_item(); i < size; i += item_stride()) y[i] = x[rows[i / width] * width + i % width];
}

// Rows, on the device, of one call.
struct StepSize {
  int64_t tokens, wanted, context;  // context: tokens that the longest sequence may have

  bool operator==(const StepSize&) const = default;
};

// The inputs of a step in the order in which they are copied: ids, positions, tables, wanted, pages.
std::vector<int64_t> gather_inputs(const DecodeBatch& batch, Views pages, Ints ids, const DecodeShape& shape,
                                   int64_t pages_each) {
  std::vector<int64_t> values(ids.begin(), ids.end());
  for (const DecodeToken& token : batch.tokens) values.push_back(token.position);
  std::vector<int64_t> table;
  const int32_t* last = nullptr;
  int64_t begin = 0;
  for (const DecodeToken& token : batch.tokens) {
    if (token.pages != last)
      begin = static_cast<int64_t>(table.size()), table.resize(table.size() + static_cast<size_t>(pages_each));
    last = token.pages;
    for (int64_t i = 0; i < shape.pages_of(token.position + 1); ++i)
      table[static_cast<size_t>(begin + i)] =
          reinterpret_cast<int64_t>(pages[static_cast<size_t>(token.pages[i])].data);
    values.push_back(begin);
  }
  values.insert(values.end(), batch.wanted.begin(), batch.wanted.end());
  values.insert(values.end(), table.begin(), table.end());
  return values;
}

// The memory of a step, and its kernels.
class Step {
 public:
  Step(const DecodeModel& model, const StepSize& size, int64_t inputs)
      : size_(size),
        parts_(context_parts(size.context)),
        rotary_(size.context, model.shape.head_size, model.rotary_base),
        inputs_(inputs),
        x_(size.tokens * model.shape.width),
        normed_(size.tokens * model.shape.width),
        qkv_(size.tokens * model.shape.qkv()),
        attended_(size.tokens * model.shape.attention()),
        statistics_(2 * size.tokens),
        parts_space_(attention_space(model.shape, size.tokens, parts_)) {
    int64_t hidden = 0, pre = 0, middle = 0;
    for (const DecodeBlock& block : model.blocks) {
      middle = std::max(middle, model.ffn_width(block));
      for (const DecodeLayer* layer : {&block.qkv, &block.out, &block.fc1, &block.fc2}) {
        hidden = std::max(hidden, layer->hidden());
        pre = std::max(pre, layer->out());
      }
    }
    const int64_t few = size.tokens <= kDecodeRows ? size.tokens : 0;
    hidden_ = Workspace<float>(few * hidden);
    pre_ = Workspace<float>(few * pre);
    middle_ = Workspace<float>(size.tokens * middle);
  }

  void upload(const std::vector<int64_t>& values) const {
    const int64_t words = static_cast<int64_t>(values.size()) * 2;
    void* from = const_cast<int64_t*>(values.data());
    transfer({from, words, DType::i32, Device{}}, {inputs_.get(), words, DType::i32, here()});
  }

  void run(const DecodeModel& model, float* logits) const {
    const DecodeShape& s = model.shape;
    const int64_t n = size_.tokens;
    const DecodeInputs inputs = device_inputs();
    const DecodeSpace space{hidden_.get(), pre_.get()};
    embed(model, inputs);
    for (int64_t layer = 0; layer < s.layers; ++layer) {
      const DecodeBlock& block = model.blocks[static_cast<size_t>(layer)];
      norm(model, block.norm1, x_.get(), normed_.get(), n);
      apply_decoded(block.qkv, normed_.get(), qkv_.get(), n, Activation::none, false, space);
      cache_tokens(s, inputs, n, layer, rotary_.rotary(), qkv_.get());
      decode_attention(s, inputs, n, layer, parts_, qkv_.get(), parts_space_.get(), attended_.get());
      apply_decoded(block.out, attended_.get(), x_.get(), n, Activation::none, true, space);
      norm(model, block.norm2, x_.get(), normed_.get(), n);
      apply_decoded(block.fc1, normed_.get(), middle_.get(), n, s.activation, false, space);
      apply_decoded(block.fc2, middle_.get(), x_.get(), n, Activation::none, true, space);
    }
    head(model, inputs.wanted, logits);
  }

 private:
  DecodeInputs device_inputs() const {
    const int64_t *ids = inputs_.get(), *positions = ids + size_.tokens, *tables = positions + size_.tokens;
    const int64_t* wanted = tables + size_.tokens;
    return {ids, positions, tables, wanted, reinterpret_cast<float* const*>(wanted + size_.wanted)};
  }

  void embed(const DecodeModel& model, const DecodeInputs& inputs) const {
    const View table = model.embedding;
    const int64_t size = size_.tokens * model.shape.width;
    const auto launch = [&](const auto* values) {
      embed_kernel<<<blocks_for(size), kThreads, 0, stream()>>>(values, model.embedding_scales.f32(),
                                                                model.positions.f32(), inputs.ids, inputs.positions,
                                                                x_.get(), size, model.shape.width);
    };
    if (table.dtype == DType::f32)
      launch(table.f32());
    else if (table.dtype == DType::bf16)
      launch(data_of<bf16>(table));
    else
      launch(table.i8());
    check_launch("decode: embedding");
  }

  void norm(const DecodeModel& model, const DecodeNorm& norm, float* from, float* to, int64_t n) const {
    const auto view = [](float* data, int64_t size) { return View{data, size, DType::f32, here()}; };
    const int64_t width = model.shape.width;
    const View x = view(from, n * width), y = view(to, n * width);
    const View mean = view(statistics_.get(), n), rstd = view(statistics_.get() + n, n);
    if (model.shape.norm == 1)
      rms_norm_forward(x, norm.weight, y, rstd, n, width, model.eps);
    else
      layer_norm_forward(x, norm.weight, norm.bias, y, mean, rstd, n, width, model.eps);
  }

  void head(const DecodeModel& model, const int64_t* wanted, float* logits) const {
    const int64_t width = model.shape.width, size = size_.wanted * width;
    if (size == 0) return;
    // There are at most as many wanted rows as tokens, and the rows of the tokens are free by now.
    gather_rows_kernel<<<blocks_for(size), kThreads, 0, stream()>>>(x_.get(), wanted, normed_.get(), size, width);
    check_launch("decode: the wanted rows");
    norm(model, model.final_norm, normed_.get(), x_.get(), size_.wanted);
    apply_decoded(model.head, x_.get(), logits, size_.wanted, Activation::none, false, {});
  }

  const StepSize size_;
  const int parts_;
  const RotaryTable rotary_;
  Workspace<int64_t> inputs_;
  Workspace<float> x_, normed_, qkv_, attended_, statistics_, parts_space_, hidden_, pre_, middle_;
};

// A step of one kind, on addresses that belong to it. The first one is launched directly, which also loads its kernels;
// the second one is recorded.
class RepeatedStep {
 public:
  RepeatedStep(const DecodeModel& model, const StepSize& size, int64_t inputs)
      : identity_(model.identity),
        size_(size),
        step_(model, size, inputs),
        logits_(size.wanted * model.shape.vocabulary) {}

  bool is(const DecodeModel& model, const StepSize& size) const { return size_ == size && identity_ == model.identity; }

  void run(const DecodeModel& model, const std::vector<int64_t>& inputs, View logits) {
    step_.upload(inputs);
    if (!ran_) {
      step_.run(model, logits.f32());
      ran_ = true;
      return;
    }
    if (!graph_) record(model);
    graph_->launch();
    transfer({logits_.get(), logits.size, DType::f32, here()}, logits);
  }

 private:
  void record(const DecodeModel& model) {
    auto graph = std::make_unique<Graph>();
    step_.run(model, logits_.get());
    graph->finish();
    graph_ = std::move(graph);
  }

  const std::vector<int64_t> identity_;
  const StepSize size_;
  const Step step_;
  const Workspace<float> logits_;
  bool ran_ = false;
  std::unique_ptr<Graph> graph_;
};

// The most recent ones first.
PerDevice<std::list<RepeatedStep>> repeated_steps;

RepeatedStep& repeated(const DecodeModel& model, const StepSize& size, int64_t inputs) {
  std::list<RepeatedStep>& steps = repeated_steps.here();
  const auto found =
      std::find_if(steps.begin(), steps.end(), [&](const RepeatedStep& step) { return step.is(model, size); });
  if (found != steps.end()) {
    steps.splice(steps.begin(), steps, found);
    return steps.front();
  }
  if (steps.size() == kSteps) steps.pop_back();
  return steps.emplace_front(model, size, inputs);
}

}  // namespace

void decode_step(const DecodeModel& model, Views pages, Ints ids, Ints sequences, View logits) {
  const DecodeBatch batch(model, pages, ids, sequences, logits);
  if (!pages.empty() && pages.front().dtype != DType::f32)
    throw Error("ERR_OPTION",
                "decode_step: keys and values of other types than float32 are not supported on device 'cuda'");
  const int64_t n = static_cast<int64_t>(ids.size()), wanted = static_cast<int64_t>(batch.wanted.size());
  if (n == 0) return;
  int64_t longest = 0, texts = 0;
  const int32_t* last = nullptr;
  for (const DecodeToken& token : batch.tokens) {
    longest = std::max(longest, token.position + 1);
    texts += token.pages != last;
    last = token.pages;
  }
  // Rounded up to whole parts, so that a text can grow for a while before its step changes.
  const StepSize size{n, wanted, ceil_div(longest, kContextPart) * kContextPart};
  const std::vector<int64_t> inputs = gather_inputs(batch, pages, ids, model.shape, model.shape.pages_of(size.context));
  if (texts == n && wanted == n && n <= kDecodeRows) {
    repeated(model, size, static_cast<int64_t>(inputs.size())).run(model, inputs, logits);
    return;
  }
  const Step step(model, size, static_cast<int64_t>(inputs.size()));
  step.upload(inputs);
  step.run(model, logits.f32());
}

}  // namespace sffn::cuda
