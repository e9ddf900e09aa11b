// Stores that go past the caches.

// To memory that nobody reads soon: without reading the line first and without evicting others. Ordered by
// finish_streams() before another thread may look.
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
