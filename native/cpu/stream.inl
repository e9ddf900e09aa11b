// Stores that go past the caches.

// Stores to memory that is not read soon. They neither read the line first nor evict others. finish_streams() orders
// them before another thread may read.
SFFN_INLINE void store_past_caches(float* p, Vec v) {
#if SFFN_LANES == 16
  _mm512_stream_ps(p, (__m512)v);
#elif SFFN_LANES == 8
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__x86_64__)
  _mm_stream_ps(p, (__m128)v);
#else
  store(p, v);
#endif
}
SFFN_INLINE void finish_streams() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}
