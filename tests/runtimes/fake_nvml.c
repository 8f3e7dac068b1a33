/* A management library without a GPU, for tests: one device, this process and another one on it. */
#include <string.h>
#include <unistd.h>

typedef unsigned long long Bytes;
typedef struct { unsigned pid; Bytes used; unsigned gpu, compute; } Process;
static int device, opened;

int fake_opened(void) { return opened; }
int nvmlInit_v2(void) { opened++; return 0; }
int nvmlShutdown(void) { opened--; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **out) { *out = &device; return index ? 2 : 0; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **out) { *out = &device; return strcmp(id, "0000:65:00.0") ? 6 : 0; }
static int known(void *which) { return which == &device ? 0 : 2; }
int nvmlSystemGetDriverVersion(char *text, unsigned length) { strncpy(text, "570.86.15", length); return 0; }
int nvmlDeviceGetMemoryInfo(void *d, Bytes out[3]) { out[0] = 8ull << 30; out[1] = 5ull << 30; out[2] = 3ull << 30; return known(d); }
int nvmlDeviceGetPowerUsage(void *d, unsigned *milliwatt) { *milliwatt = 61500; return known(d); }
int nvmlDeviceGetEnforcedPowerLimit(void *d, unsigned *milliwatt) { *milliwatt = 350000; return known(d); }
int nvmlDeviceGetClockInfo(void *d, int clock, unsigned *mhz) { *mhz = clock == 1 ? 1395 : clock == 2 ? 2619 : 0; return known(d); }
int nvmlDeviceGetTemperature(void *d, int sensor, unsigned *celsius) { *celsius = sensor ? 0 : 44; return known(d); }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *d, Bytes *bits) { *bits = 0x25; return known(d); }
#ifndef OLD_DRIVER
int nvmlDeviceGetComputeRunningProcesses_v3
#else
int nvmlDeviceGetComputeRunningProcesses_v2
#endif
(void *d, unsigned *count, Process *out) {
    if (*count < 2) return 7;
    *count = 2;
    out[0] = (Process){1, 999ull << 20, 0, 0};
    out[1] = (Process){(unsigned)getpid(), 321ull << 20, 0, 0};
    return known(d);
}
