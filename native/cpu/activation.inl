// The activations and their derivatives, on vectors. gelu is the tanh form, 0.5·a·(1 + tanh(u)) = a·sigmoid(2u) with u
// = 0.79788456·(a + 0.044715·a³). The sigmoid keeps its relative accuracy in the tail.

SFFN_INLINE Vec gelu_gate(Vec a) { return sigmoid(1.5957691216f * a * (1.f + 0.044715f * a * a)); }
SFFN_INLINE Vec gelu(Vec a) { return a * gelu_gate(a); }
SFFN_INLINE Vec gelu_derivative(Vec a) {
  const Vec gate = gelu_gate(a);
  return gate + a * gate * (1.f - gate) * 1.5957691216f * (1.f + 0.134145f * a * a);
}

SFFN_INLINE Vec silu(Vec a) { return a * sigmoid(a); }
SFFN_INLINE Vec silu_derivative(Vec a) {
  const Vec gate = sigmoid(a);
  return gate * (1.f + a * (1.f - gate));
}

SFFN_INLINE Vec relu(Vec a) { return a < 0.f ? Vec{} : a; }
SFFN_INLINE Vec relu_derivative(Vec a) { return a > 0.f ? splat(1.f) : Vec{}; }
