// A libcuda that runs the kernels of labels.cu on the host: the same source, the same driver
// calls, host memory as device memory. Work waits in a stream of fake_cudart.c.
#include "cuda_shim.h"
#include "labels.cu"

#include <functional>
#include <tuple>
#include <type_traits>
#include <vector>

namespace {

using Work = std::function<void()>;

// Reads the arguments now, as a launch does, and returns what one thread does.
template <typename... Args, size_t... Index>
Work bound(void (*kernel)(Args...), void** places, std::index_sequence<Index...>) {
  std::tuple<Args...> values(*static_cast<std::remove_reference_t<Args>*>(places[Index])...);
  return [kernel, values] { std::apply(kernel, values); };
}

template <typename... Args>
Work bound(void (*kernel)(Args...), void** places) {
  return bound(kernel, places, std::index_sequence_for<Args...>());
}

struct Kernel {
  const char* name;
  Work (*bind)(void**);
};

#define ENTRY(NAME) {#NAME, [](void** places) { return bound(NAME, places); }}
const Kernel kernels[] = {
    ENTRY(leaders_float32),      ENTRY(leaders_float16),      ENTRY(labels_float32_uint8),
    ENTRY(labels_float32_int32), ENTRY(labels_float16_uint8), ENTRY(labels_float16_int32),
};

constexpr int INVALID_VALUE = 1, INVALID_IMAGE = 200, NOT_FOUND = 500;
constexpr unsigned MOST_BLOCKS_YZ = 65535, MOST_THREADS = 1024;  // of every GPU
using Enqueue = int (*)(void* stream, void (*work)(int64_t), int64_t data);
Enqueue enqueue = nullptr;
std::vector<Work> queued;
int loaded = 0;

void run_queued(int64_t place) { queued[place](); }

int queue(void* stream, Work work) {
  queued.push_back(std::move(work));
  return enqueue(stream, run_queued, static_cast<int64_t>(queued.size()) - 1);
}

void run_grid(Triple grid, Triple block, const Work& thread) {
  blockDim = block;
  for (unsigned z = 0; z < grid.z; ++z)
    for (unsigned y = 0; y < grid.y; ++y)
      for (unsigned x = 0; x < grid.x; ++x)
        for (unsigned at = 0; at < block.x * block.y * block.z; ++at) {
          blockIdx = {x, y, z};
          threadIdx = {at % block.x, at / block.x % block.y, at / block.x / block.y};
          thread();
        }
}

}  // namespace

extern "C" {

void fake_use_queue(Enqueue function) { enqueue = function; }
int fake_loaded() { return loaded; }

int cuModuleLoadData(void** module, const void* image) {
  if (std::memcmp(image, "labels.cu", 9) != 0) return INVALID_IMAGE;
  *module = &loaded;
  ++loaded;
  return 0;
}

int cuModuleUnload(void* module) {
  if (module != &loaded) return INVALID_VALUE;
  --loaded;
  return 0;
}

int cuModuleGetFunction(const void** function, void* module, const char* name) {
  if (module != &loaded) return INVALID_VALUE;
  for (const Kernel& kernel : kernels) {
    if (std::strcmp(kernel.name, name)) continue;
    *function = &kernel;
    return 0;
  }
  return NOT_FOUND;
}

int cuLaunchKernel(const void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared_bytes,
                   void* stream, void** places, void** extra) {
  const Triple grid = {grid_x, grid_y, grid_z}, block = {block_x, block_y, block_z};
  const unsigned threads = block_x * block_y * block_z;
  if (!grid_x || !grid_y || !grid_z || grid_y > MOST_BLOCKS_YZ || grid_z > MOST_BLOCKS_YZ ||
      !threads || threads > MOST_THREADS || shared_bytes || extra)
    return INVALID_VALUE;
  const Work thread = static_cast<const Kernel*>(function)->bind(places);
  return queue(stream, [grid, block, thread] { run_grid(grid, block, thread); });
}

int cuMemsetD32Async(uint64_t address, unsigned value, size_t count, void* stream) {
  unsigned* const at = reinterpret_cast<unsigned*>(address);
  return queue(stream, [at, value, count] { std::fill_n(at, count, value); });
}

int cuGetErrorString(int error, const char** text) {
  *text = error == INVALID_IMAGE ? "device kernel image is invalid"
          : error == NOT_FOUND   ? "named symbol not found"
                                 : "invalid argument";
  return 0;
}
}
