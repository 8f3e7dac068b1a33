/* A CUDA runtime, driver and management library without a GPU, for tests.

   "Device" memory is host memory, and every copy is checked against the blocks it touches. A stream
   runs nothing until it is synchronized, so that a missing wait shows as a missing result. While a
   stream is captured its work goes into the graph. What is alive is counted; the nth call of any
   function can be made to fail. The fake_… functions are for tests alone. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { COPY, RECORD, CALL, MAX = 512 };
enum { OUT_OF_MEMORY = 2, INVALID = 1, NOT_READY = 600, CAPTURE_ENDED = 901 };

typedef struct { int kind; void *to; const void *from; size_t size; void (*work)(int64_t); int64_t data; } Op;
typedef struct { Op ops[MAX]; int count; } Queue;
typedef struct { Queue pending, captured; int capturing, broken; } Stream;
typedef struct { double ms; int happened; } Event;
typedef struct { char *at; size_t size; int host; } Block;

static Block blocks[MAX];
static int objects, devices = 1, driver = 12080, failing_call, failing_code, last_error, integrated, broken;
static char failing_name[64];
static size_t total = (size_t)1 << 30, used;

static int failed(const char *name) {
    if (broken) return last_error = broken;
    if (strcmp(name, failing_name) || --failing_call > 0) return 0;
    failing_name[0] = 0;
    return last_error = failing_code;
}
#define START if (failed(__func__)) return last_error

void fake_reset(void) {
    objects = 0; used = 0; devices = 1; driver = 12080; failing_name[0] = 0; last_error = 0; integrated = broken = 0;
    total = (size_t)1 << 30;
    memset(blocks, 0, sizeof blocks);
}
void fake_fail(const char *name, int nth, int code) {
    strncpy(failing_name, name, sizeof failing_name - 1);
    failing_call = nth; failing_code = code;
}
void fake_break(int code) { broken = code; } /* every call fails, as after a kernel's fault; 0 mends it */
void fake_machine(int count, int version, size_t memory) { devices = count; driver = version; total = memory; }
int fake_live(void) {
    int live = objects;
    for (int i = 0; i < MAX; i++) live += blocks[i].at != 0;
    return live;
}
int fake_last_error(void) { return last_error; }

static Block *block_of(const void *at, size_t size) {
    for (int i = 0; i < MAX; i++) {
        const char *low = blocks[i].at;
        if (low && (const char *)at >= low && (const char *)at + size <= low + blocks[i].size) return blocks + i;
    }
    return 0;
}
/* 1 where `size` bytes at `at` are device memory */
int fake_is_device(const void *at, size_t size) { Block *b = block_of(at, size); return b && !b->host; }

static int take(void **out, size_t size, int host) {
    *out = 0;
    if (!host && used + size > total) return last_error = OUT_OF_MEMORY;
    for (int i = 0; i < MAX; i++) {
        if (blocks[i].at) continue;
        /* mapped, not from the heap, which may lie below 4 GiB: addresses are to need 64 bits */
        *out = mmap(0, size ? size : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (*out == MAP_FAILED) { *out = 0; return last_error = OUT_OF_MEMORY; }
        blocks[i].at = *out;
        memset(*out, 0xA5, size);
        blocks[i].size = size; blocks[i].host = host;
        if (!host) used += size;
        return 0;
    }
    return last_error = OUT_OF_MEMORY;
}
static int give(void *at, int host) {
    Block *b = blocks; /* by its first byte: where one block ends, the next may begin */
    if (!at) return 0;
    while (b < blocks + MAX && b->at != at) b++;
    if (b == blocks + MAX || b->host != host) return last_error = INVALID;
    if (!host) used -= b->size;
    memset(at, 0x5A, b->size);
    munmap(at, b->size ? b->size : 1); b->at = 0;
    return 0;
}
int cudaMalloc(void **out, size_t size) { *out = 0; START; return take(out, size, 0); }
int cudaFree(void *at) { START; return give(at, 0); }
int cudaHostAlloc(void **out, size_t size, unsigned flags) { *out = 0; START; return flags ? INVALID : take(out, size, 1); }
int cudaFreeHost(void *at) { START; return give(at, 1); }
int cudaMemGetInfo(size_t *unused, size_t *all) { START; *unused = total - used; *all = total; return 0; }

int cudaGetDeviceCount(int *count) {
    *count = 0; START;
    if (driver < 12000) return last_error = 35;
    *count = devices;
    return devices ? 0 : (last_error = 100);
}
int cudaSetDevice(int device) { START; return device ? 101 : 0; }
int cudaRuntimeGetVersion(int *version) { START; *version = 12090; return 0; }
int cudaDriverGetVersion(int *version) { START; *version = driver; return 0; }
int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    START;
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 18 ? integrated : -1;
    return device ? 101 : 0;
}
int cudaGetLastError(void) { int error = last_error; last_error = 0; return error; }
const char *cudaGetErrorString(int code) {
    return code == 2 ? "out of memory" : code == 35 ? "CUDA driver version is insufficient"
         : code == 100 ? "no CUDA-capable device is detected" : code == 700 ? "an illegal memory access was encountered"
         : code == 900 ? "operation not permitted when stream is capturing" : "some error";
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}
static void run(Queue *queue) {
    for (int i = 0; i < queue->count; i++) {
        Op *op = queue->ops + i;
        if (op->kind == COPY) memcpy(op->to, op->from, op->size);
        if (op->kind == RECORD) { ((Event *)op->to)->ms = now_ms(); ((Event *)op->to)->happened = 1; }
        if (op->kind == CALL) op->work(op->data);
    }
}
static int queue_op(Stream *stream, Op op) {
    Queue *queue = stream->capturing ? &stream->captured : &stream->pending;
    if (queue->count == MAX) return last_error = INVALID;
    queue->ops[queue->count++] = op;
    return 0;
}
int cudaStreamCreateWithFlags(Stream **out, unsigned flags) {
    *out = 0; START;
    *out = calloc(1, sizeof **out); objects++;
    return flags == 1 ? 0 : INVALID;
}
int cudaStreamDestroy(Stream *stream) { START; free(stream); objects--; return 0; }
int cudaStreamSynchronize(Stream *stream) {
    START;
    if (stream->capturing) { stream->broken = 1; return last_error = 900; }
    run(&stream->pending);
    stream->pending.count = 0;
    return 0;
}
int cudaMemcpyAsync(void *to, const void *from, size_t size, int kind, Stream *stream) {
    START;
    Block *target = block_of(to, size), *source = block_of(from, size);
    if (!target || !source || target->host != (kind == 2) || source->host != (kind == 1)) return last_error = INVALID;
    return queue_op(stream, (Op){COPY, to, from, size, 0, 0});
}
int fake_enqueue(Stream *stream, void (*work)(int64_t), int64_t data) {
    return queue_op(stream, (Op){CALL, 0, 0, 0, work, data});
}
int cudaStreamBeginCapture(Stream *stream, int mode) {
    START;
    stream->capturing = 1; stream->broken = 0; stream->captured.count = 0;
    return mode == 1 ? 0 : INVALID;
}
int cudaStreamEndCapture(Stream *stream, Queue **graph) {
    *graph = 0;
    int was = stream->capturing;
    stream->capturing = 0;
    START;
    if (!was || stream->broken) return last_error = CAPTURE_ENDED;
    *graph = malloc(sizeof **graph); objects++;
    **graph = stream->captured;
    return 0;
}
int cudaGraphInstantiateWithFlags(Queue **exec, Queue *graph, unsigned long long flags) {
    *exec = 0; START;
    *exec = malloc(sizeof **exec); objects++;
    **exec = *graph;
    return flags ? INVALID : 0;
}
static Queue launched[MAX]; /* one per launch not yet synchronized; reused in turn */
static void run_launched(int64_t place) { run(launched + place); }
int cudaGraphLaunch(Queue *exec, Stream *stream) {
    static int place;
    START;
    place = (place + 1) % MAX;
    launched[place] = *exec;
    return fake_enqueue(stream, run_launched, place);
}
int cudaGraphDestroy(Queue *graph) { START; free(graph); objects--; return 0; }
int cudaGraphExecDestroy(Queue *exec) { START; free(exec); objects--; return 0; }
int cudaEventCreateWithFlags(Event **out, unsigned flags) {
    *out = 0; START;
    *out = calloc(1, sizeof **out); objects++;
    return flags ? INVALID : 0;
}
int cudaEventRecord(Event *event, Stream *stream) { START; return queue_op(stream, (Op){RECORD, event, 0, 0, 0, 0}); }
int cudaEventElapsedTime(float *ms, Event *start, Event *end) {
    START;
    if (!start->happened || !end->happened) return last_error = NOT_READY;
    *ms = (float)(end->ms - start->ms);
    return 0;
}
int cudaEventDestroy(Event *event) { START; free(event); objects--; return 0; }

int cuInit(unsigned flags) { START; return (int)flags; }
int cuDeviceGet(int *device, int ordinal) { START; *device = 40 + ordinal; return 0; }
static int say(char *text, int length, const char *words) { strncpy(text, words, length); return 0; }
int cuDeviceGetName(char *text, int length, int device) { START; return device == 40 ? say(text, length, "NVIDIA Fake") : 101; }
int cuDeviceGetPCIBusId(char *text, int length, int device) { START; return device == 40 ? say(text, length, "0000:65:00.0") : 101; }
