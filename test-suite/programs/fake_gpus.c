/* The libraries of GPUs, as far as test-suite/hardware/gpu_check.py asks them, for machines without
 * GPUs: the CUDA driver, NVML, HIP and Level Zero in one. test-suite/python/test_hardware.py makes
 * a file of each name of it.
 *
 * FAKE_GPUS has the GPUs in PCI order, with a ';' between them: PCI address, UUID as hexadecimal
 * digits, model, tiles, and CPUs as a hexadecimal mask, with a '|' between them. Without a variable that says
 * otherwise they are numbered from the last to the first, as CUDA and Level Zero may do.
 * FAKE_STUBBORN=1 makes them keep to that. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX = 64, NO_DEVICE = 100, INVALID = 101, ZE_UNINITIALISED = 0x78000001 };

struct gpu {
    char pci[16], uuid[40], model[64], cpus[128];
    unsigned tiles;
};

static struct gpu all[MAX];
static int count;

static void load(void)
{
    const char *text = getenv("FAKE_GPUS");
    char copy[16384], *next, *one;
    count = 0;
    snprintf(copy, sizeof copy, "%s", text ? text : "");
    for (one = strtok_r(copy, ";", &next); one && count < MAX; one = strtok_r(NULL, ";", &next)) {
        struct gpu *gpu = &all[count++];
        sscanf(one, "%15[^|]|%39[^|]|%63[^|]|%u|%127[0-9a-f]", gpu->pci, gpu->uuid,
               gpu->model, &gpu->tiles, gpu->cpus);
    }
}

static int is(const char *name, const char *value)
{
    const char *told = getenv(name);
    return told && !strcasecmp(told, value);
}

/* The places of the GPUs in the order of their numbers. */
static int in_order(int *places, int by_pci)
{
    for (int i = 0; i < count; i++)
        places[i] = by_pci && !is("FAKE_STUBBORN", "1") ? i : count - 1 - i;
    return count;
}

/* Whether the digits of a UUID begin like this, dashes left out. */
static int fits(const struct gpu *gpu, const char *entry)
{
    const char *digits = gpu->uuid;
    if (strncasecmp(entry, "GPU-", 4))
        return 0;
    for (entry += 4; *entry; entry++)
        if (*entry != '-' && *entry != *digits++)
            return 0;
    return 1;
}

/* Leaves the places that a list shows, in its order; what is not understood ends it. */
static int show(const char *variable, int *places, int size)
{
    const char *list = getenv(variable);
    char copy[4096], *next, *entry;
    int shown[MAX], left = 0;
    if (!list)
        return size;
    snprintf(copy, sizeof copy, "%s", list);
    for (entry = strtok_r(copy, ",", &next); entry; entry = strtok_r(NULL, ",", &next)) {
        char *end;
        long number = strtol(entry, &end, 10);
        int found = -1;
        if (!*end && number >= 0 && number < size)
            found = places[number];
        for (int i = 0; *end && i < size; i++)
            if (fits(&all[places[i]], entry))
                found = places[i];
        if (found < 0)
            break;
        shown[left++] = found;
    }
    memcpy(places, shown, sizeof *places * left);
    return left;
}

static int bytes(const struct gpu *gpu, unsigned char *uuid)
{
    for (int i = 0; i < 16; i++)
        sscanf(gpu->uuid + 2 * i, "%2hhx", &uuid[i]);
    return 0;
}

/* ---- the CUDA driver ---- */

static int seen[MAX], visible;

int cuInit(unsigned flags)
{
    (void)flags;
    load();
    visible = in_order(seen, is("CUDA_DEVICE_ORDER", "PCI_BUS_ID"));
    visible = show("CUDA_VISIBLE_DEVICES", seen, visible);
    return visible ? 0 : NO_DEVICE;
}

int cuDeviceGetCount(int *number) { return *number = visible, 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal < visible ? 0 : INVALID; }
int cuDeviceGetUuid(void *uuid, int device) { return bytes(&all[seen[device]], uuid); }

int cuDeviceGetPCIBusId(char *text, int size, int device)
{
    return snprintf(text, size, "%s", all[seen[device]].pci), 0;
}

/* ---- HIP, on ROCr. HIP has the digits of an identity as its bytes. ---- */

int hipInit(unsigned flags)
{
    const char *hip = getenv("HIP_VISIBLE_DEVICES");
    (void)flags;
    load();
    for (visible = 0; visible < count; visible++)
        seen[visible] = visible;
    visible = show("ROCR_VISIBLE_DEVICES", seen, visible);
    visible = show(hip && *hip ? "HIP_VISIBLE_DEVICES" : "CUDA_VISIBLE_DEVICES", seen, visible);
    return visible ? 0 : NO_DEVICE;
}

int hipGetDeviceCount(int *number) { return cuDeviceGetCount(number); }
int hipDeviceGet(int *device, int ordinal) { return cuDeviceGet(device, ordinal); }
int hipDeviceGetUuid(void *uuid, int device) { return memcpy(uuid, all[seen[device]].uuid, 16), 0; }
int hipDeviceGetPCIBusId(char *text, int size, int device)
{
    return cuDeviceGetPCIBusId(text, size, device);
}

/* ---- NVML ---- */

struct nvml_pci {
    char legacy[16];
    unsigned numbers[5];
    char address[32];
};

int nvmlInit_v2(void) { return load(), count ? 0 : 9; }
int nvmlDeviceGetCount_v2(unsigned *number) { return *number = count, 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct gpu **device)
{
    return *device = &all[index], 0;
}

int nvmlDeviceGetPciInfo_v3(struct gpu *gpu, struct nvml_pci *pci)
{
    return snprintf(pci->address, sizeof pci->address, "0000%s", gpu->pci), 0;
}

int nvmlDeviceGetUUID(struct gpu *gpu, char *text, unsigned size)
{
    const char *digits = gpu->uuid;
    return snprintf(text, size, "GPU-%.8s-%.4s-%.4s-%.4s-%s", digits, digits + 8, digits + 12,
                    digits + 16, digits + 20), 0;
}

int nvmlDeviceGetName(struct gpu *gpu, char *text, unsigned size)
{
    return snprintf(text, size, "%s", gpu->model), 0;
}

int nvmlDeviceGetCpuAffinity(struct gpu *gpu, unsigned words, unsigned long *mask)
{
    unsigned digits = strlen(gpu->cpus);
    memset(mask, 0, words * sizeof *mask);
    for (unsigned i = 0; i < digits && i / 16 < words; i++) {
        const char digit[2] = {gpu->cpus[digits - 1 - i], 0};
        mask[i / 16] |= strtoul(digit, NULL, 16) << i % 16 * 4;
    }
    return 0;
}

/* ---- Level Zero: a device is a tile, or a GPU if told so ---- */

struct ze_device { int place; } tiles[MAX * 8];

struct ze_pci {
    uint32_t stype;
    void *next;
    uint32_t address[4];
    int32_t generation, width;
    int64_t bandwidth;
};

static uint32_t ze_devices(void)
{
    const char *mask = getenv("ZE_AFFINITY_MASK");
    int places[MAX], composite = is("ZE_FLAT_DEVICE_HIERARCHY", "COMPOSITE");
    uint32_t found = 0, number = 0;
    load();
    in_order(places, is("ZE_ENABLE_PCI_ID_DEVICE_ORDER", "1"));
    for (int i = 0; i < count; i++)
        for (unsigned tile = 0; tile < (composite ? 1 : all[places[i]].tiles); tile++, number++) {
            char wanted[16], list[4096];
            snprintf(wanted, sizeof wanted, ",%u,", number);
            snprintf(list, sizeof list, ",%s,", mask ? mask : "");
            if (!mask || !*mask || strstr(list, wanted))
                tiles[found++].place = places[i];
        }
    return found;
}

int zeInit(uint32_t flags) { return (void)flags, ze_devices() ? 0 : ZE_UNINITIALISED; }

int zeDriverGet(uint32_t *number, void **drivers)
{
    *number = 1;
    if (drivers)
        drivers[0] = tiles;
    return 0;
}

int zeDeviceGet(void *driver, uint32_t *number, void **devices)
{
    (void)driver;
    *number = ze_devices();
    for (uint32_t i = 0; devices && i < *number; i++)
        devices[i] = &tiles[i];
    return 0;
}

int zeDevicePciGetPropertiesExt(struct ze_device *device, struct ze_pci *pci)
{
    if (pci->stype != 0x10008)
        return INVALID;
    sscanf(all[device->place].pci, "%x:%x:%x.%x", &pci->address[0], &pci->address[1],
           &pci->address[2], &pci->address[3]);
    return 0;
}
