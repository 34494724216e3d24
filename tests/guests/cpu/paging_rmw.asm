; An instruction that reads and writes its operand faults as a write, although it would read first (SDM 3A, 4.7).
; QEMU reports a read.
%include "cpu.inc"
        START
        PAGING
        MAP PAGE1, 0
        FAULTS PF, 2, inc dword [PAGE1 + 8]
        FAULTS PF, 2, xchg [PAGE1 + 8], eax
        MAP PAGE1, PAGE1 + (P | U)
        FAULTS PF, 3, add dword [PAGE1 + 8], 5
        PASS
