/* A stand-in for libnvidia-ml.so.1 with two GPUs, steered by files in $NVML_STANDIN:
 *   hang   every call that reads a GPU never returns while it exists
 *   lost1  GPU 1 is lost while it exists
 *   idle1  no process holds memory on GPU 1
 *   mig    GPU 0 is partitioned into two slices
 *   old    the calls of newer drivers fail as if the driver did not know them
 *   pid    a process id: it holds memory on both GPUs
 * GPU 1 supports less than GPU 0, as a cheaper card would. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS, UNINITIALIZED, INVALID_ARGUMENT, NOT_SUPPORTED, NO_PERMISSION, ALREADY_INITIALIZED,
       NOT_FOUND, INSUFFICIENT_SIZE, FUNCTION_NOT_FOUND = 13, GPU_IS_LOST = 15 };

typedef struct { int gpu, slice; } Device;
static Device devices[2] = {{0, -1}, {1, -1}};
static Device slices[2] = {{0, 0}, {0, 1}};

static int is(const char *word) {
    const char *dir = getenv("NVML_STANDIN");
    char path[4096];
    if (!dir) return 0;
    snprintf(path, sizeof path, "%s/%s", dir, word);
    return access(path, F_OK) == 0;
}

static int pid_of_trainer(void) {
    const char *dir = getenv("NVML_STANDIN");
    char path[4096];
    int pid = 0;
    snprintf(path, sizeof path, "%s/pid", dir ? dir : "/nonexistent");
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    if (fscanf(file, "%d", &pid) != 1) pid = 0;
    fclose(file);
    return pid;
}

/* What every call that reads a GPU does first. */
static int enter(Device *device) {
    while (is("hang")) usleep(20000);
    return device->gpu == 1 && is("lost1") ? GPU_IS_LOST : SUCCESS;
}
#define ENTER(device) do { int code = enter(device); if (code) return code; } while (0)

int nvmlInitWithFlags(unsigned flags) { (void)flags; return SUCCESS; }
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { (void)code; return "an error of the stand-in"; }
int nvmlSystemGetDriverVersion(char *out, unsigned n) { snprintf(out, n, "580.00"); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **device) {
    if (index > 1) return INVALID_ARGUMENT;
    *device = &devices[index];
    ENTER(*device);
    return SUCCESS;
}
int nvmlDeviceGetName(Device *device, char *out, unsigned n) {
    ENTER(device);
    snprintf(out, n, "Stand-in %d", device->gpu);
    return SUCCESS;
}
int nvmlDeviceGetUUID(Device *device, char *out, unsigned n) {
    ENTER(device);
    snprintf(out, n, "GPU-0000-%d", device->gpu);
    return SUCCESS;
}
typedef struct { unsigned gpu, memory; } Utilization;
int nvmlDeviceGetUtilizationRates(Device *device, Utilization *use) {
    ENTER(device);
    if (device->gpu == 0 && is("mig")) return NOT_SUPPORTED;
    *use = (Utilization){90u + (unsigned)device->gpu, 40};
    return SUCCESS;
}
typedef struct { unsigned long long total, free, used; } Memory;
int nvmlDeviceGetMemoryInfo(Device *device, Memory *memory) {
    ENTER(device);
    memory->total = (device->slice < 0 ? 80ull : 40ull) << 30;
    memory->used = (device->slice < 0 ? 10ull : 5ull) << 30;
    memory->free = memory->total - memory->used;
    return SUCCESS;
}
int nvmlDeviceGetTemperature(Device *device, int sensor, unsigned *celsius) {
    (void)sensor;
    ENTER(device);
    *celsius = 61;
    return SUCCESS;
}
int nvmlDeviceGetPowerUsage(Device *device, unsigned *milliwatts) {
    ENTER(device);
    if (device->gpu == 1) return NOT_SUPPORTED;
    *milliwatts = 412345;
    return SUCCESS;
}
int nvmlDeviceGetEnforcedPowerLimit(Device *device, unsigned *milliwatts) {
    ENTER(device);
    if (device->gpu == 1) return NOT_SUPPORTED;
    *milliwatts = 700000;
    return SUCCESS;
}
int nvmlDeviceGetClockInfo(Device *device, int type, unsigned *mhz) {
    ENTER(device);
    *mhz = type == 1 ? 1980 : 2619;
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksEventReasons(Device *device, unsigned long long *reasons) {
    ENTER(device);
    if (is("old")) return FUNCTION_NOT_FOUND;
    *reasons = device->gpu == 0 ? 0x44 : 0x1;
    return SUCCESS;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *reasons) {
    ENTER(device);
    *reasons = 0x8;
    return SUCCESS;
}
int nvmlDeviceGetTotalEccErrors(Device *device, int kind, int counter, unsigned long long *count) {
    (void)counter;
    ENTER(device);
    if (device->gpu == 1) return NOT_SUPPORTED;
    *count = kind == 0 ? 3 : 0;
    return SUCCESS;
}
typedef struct {
    unsigned field, scope;
    long long timestamp, latency;
    int type, code;
    unsigned long long value;
} Field;
int nvmlDeviceGetFieldValues(Device *device, int count, Field *fields) {
    static unsigned long long counter;
    ENTER(device);
    counter += 1 << 20;
    for (int i = 0; i < count; i++) {
        fields[i].type = 3;
        fields[i].code = device->gpu == 1 || is("old") ? NOT_SUPPORTED : SUCCESS;
        fields[i].value = counter;
    }
    return SUCCESS;
}
int nvmlDeviceGetPcieThroughput(Device *device, int which, unsigned *kilobytes) {
    ENTER(device);
    *kilobytes = which == 0 ? 100 : 200;
    return SUCCESS;
}
typedef struct { unsigned pid; unsigned long long used; unsigned gpu, compute; } Process;
int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *count, Process *list) {
    ENTER(device);
    int pid = pid_of_trainer();
    if (is("old")) return FUNCTION_NOT_FOUND;
    if (!pid || (device->gpu == 1 && is("idle1"))) { *count = 0; return SUCCESS; }
    if (*count < 2) { *count = 2; return INSUFFICIENT_SIZE; }
    list[0] = (Process){(unsigned)pid, 3ull << 30, 0, 0};
    list[1] = (Process){1, ~0ull, 0, 0};
    *count = 2;
    return SUCCESS;
}
int nvmlDeviceGetMigMode(Device *device, unsigned *now, unsigned *next) {
    ENTER(device);
    if (device->gpu == 1) return NOT_SUPPORTED;
    *now = *next = is("mig") ? 1 : 0;
    return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned *count) {
    ENTER(device);
    *count = 7;
    return SUCCESS;
}
int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **slice) {
    ENTER(device);
    if (index > 1) return NOT_FOUND;
    *slice = &slices[index];
    return SUCCESS;
}
