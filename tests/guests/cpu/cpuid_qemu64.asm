; What CPUID announces is executed, and what it does not announce is undefined (SDM 2A, CPUID): the processor `qemu64`.
%include "cpuid.inc"
