// Labels (B,H,W) from logits (B,K,h,w): bilinear resizing and argmax, ties to the lowest class.
//
// The same bits as runtimes/upsample_argmax.py on the CPU. Two kernels:
//   leaders: one thread per logit position; the class that leads there, or UNDECIDED where a
//            lower class is so near that rounding could make the two equal after interpolation.
//   labels:  one thread per label; where the four corners have one leader it wins, else every
//            class is interpolated, columns first, then rows, as the CPU form does.
// One kernel alone would need the argmax of four corners per label: 4 K reads instead of 4.
//
// Every product and sum is written with __fmul_rn and __fadd_rn, which the compiler may not fuse:
// a fused multiply-add rounds once where the CPU form rounds twice. No header is included, so that
// libnvrtc alone compiles this file; a C++ compiler does too, with tests/runtimes/cuda_shim.h.

constexpr float MARGIN = 1.0f / 262144.0f;  // 2^-18, sparse_cells.MARGIN
constexpr float TINY = 1e-30f;              // sparse_cells.TINY
constexpr float LARGEST = 3.402823466e+38f;
constexpr int UNDECIDED = -1;

struct Half {
  unsigned short bits;
};

__device__ inline float widen(float value) { return value; }

__device__ inline float widen(Half value) {
#ifdef __CUDA_ARCH__
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#else
  return widen_half(value.bits);
#endif
}

// Where one label reads along one axis: interpolation.axis_plan for a single position.
struct Tap {
  int low, high;
  float w_low, w_high;
};

__device__ inline Tap tap(int target, int length, float scale, int align_corners) {
  float position = static_cast<float>(target);
  if (align_corners) {
    position = __fmul_rn(position, scale);
  } else {
    position = fmaxf(__fadd_rn(__fmul_rn(scale, __fadd_rn(position, 0.5f)), -0.5f), 0.0f);
  }
  Tap found;
  found.low = min(static_cast<int>(position), length - 1);
  found.high = min(found.low + 1, length - 1);
  const float part = __fadd_rn(position, -static_cast<float>(found.low));
  found.w_high = fminf(fmaxf(part, 0.0f), 1.0f);
  found.w_low = __fadd_rn(1.0f, -found.w_high);
  return found;
}

__device__ inline float blend(float low, float high, float w_low, float w_high) {
  return __fadd_rn(__fmul_rn(low, w_low), __fmul_rn(high, w_high));
}

__device__ inline float bilinear(float upper_left, float upper_right, float lower_left,
                                 float lower_right, const Tap& row, const Tap& column) {
  const float upper = blend(upper_left, upper_right, column.w_low, column.w_high);
  const float lower = blend(lower_left, lower_right, column.w_low, column.w_high);
  return blend(upper, lower, row.w_low, row.w_high);
}

// `background` is 1 where a class 0 with the constant logit `level` stands before the others.
// `unusable` becomes 1 where a logit is NaN or infinite.
template <typename T>
__device__ inline void find_leader(const T* __restrict__ logits, int* __restrict__ leaders,
                                   int* unusable, int classes, int plane, float level,
                                   int background) {
  const int position = blockIdx.x * blockDim.x + threadIdx.x;
  if (position >= plane) return;
  const size_t image = blockIdx.y;
  const T* value = logits + image * classes * plane + position;
  float top = background ? level : widen(*value);
  float rival = -LARGEST;  // the largest logit of a class lower than the leader
  int leader = 0;
  bool finite = true;
  for (int index = 0; index < classes; ++index, value += plane) {
    const float logit = widen(*value);
    finite = finite && fabsf(logit) <= LARGEST;
    if (logit > top) {
      rival = top;
      top = logit;
      leader = index + background;
    }
  }
  const float floor = __fadd_rn(top, -__fadd_rn(__fmul_rn(fabsf(top), MARGIN), TINY));
  leaders[image * plane + position] = leader == 0 || rival < floor ? leader : UNDECIDED;
  if (!finite) *unusable = 1;
}

template <typename T, typename Label>
__device__ inline void find_label(const T* __restrict__ logits, const int* __restrict__ leaders,
                                  Label* __restrict__ labels, int classes, int height, int width,
                                  int label_height, int label_width, float row_scale,
                                  float column_scale, int align_corners, float level,
                                  int background) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x;
  const int y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= label_width || y >= label_height) return;
  const size_t image = blockIdx.z;
  const int plane = height * width;
  const Tap row = tap(y, height, row_scale, align_corners);
  const Tap column = tap(x, width, column_scale, align_corners);
  const int upper_left = row.low * width + column.low;
  const int upper_right = row.low * width + column.high;
  const int lower_left = row.high * width + column.low;
  const int lower_right = row.high * width + column.high;
  const int* leader = leaders + image * plane;
  int label = leader[upper_left];
  if (label == UNDECIDED || label != leader[upper_right] || label != leader[lower_left] ||
      label != leader[lower_right]) {
    const T* value = logits + image * classes * plane;
    float best = background ? bilinear(level, level, level, level, row, column) : 0.0f;
    label = background ? 0 : -1;
    for (int index = 0; index < classes; ++index, value += plane) {
      const float logit = bilinear(widen(value[upper_left]), widen(value[upper_right]),
                                   widen(value[lower_left]), widen(value[lower_right]), row, column);
      if (label < 0 || logit > best) {
        best = logit;
        label = index + background;
      }
    }
  }
  const size_t at = (image * label_height + y) * label_width + x;
  labels[at] = static_cast<Label>(label);
}

#define LEADERS(NAME, T)                                                                         \
  extern "C" __global__ void NAME(const T* logits, int* leaders, int* unusable, int classes,     \
                                  int plane, float level, int background) {                      \
    find_leader<T>(logits, leaders, unusable, classes, plane, level, background);                \
  }

#define LABELS(NAME, T, LABEL)                                                                   \
  extern "C" __global__ void NAME(const T* logits, const int* leaders, LABEL* labels,            \
                                  int classes, int height, int width, int label_height,          \
                                  int label_width, float row_scale, float column_scale,          \
                                  int align_corners, float level, int background) {              \
    find_label<T, LABEL>(logits, leaders, labels, classes, height, width, label_height,          \
                         label_width, row_scale, column_scale, align_corners, level,             \
                         background);                                                            \
  }

LEADERS(leaders_float32, float)
LEADERS(leaders_float16, Half)
LABELS(labels_float32_uint8, float, unsigned char)
LABELS(labels_float32_int32, float, int)
LABELS(labels_float16_uint8, Half, unsigned char)
LABELS(labels_float16_int32, Half, int)
