; With RF set by IRET the breakpoint on the instruction that comes next is passed once (SDM 3A, 17.3.1.1).
%include "cpu.inc"
        START
        mov eax, .there
        mov dr0, eax
        mov eax, 0x401 | 1
        mov dr7, eax
        SET hook, count
        SET got_count, 0
        ; Without RF: the breakpoint's fault comes first.
.there: nop
        NOTED got_count, 1
        NOTED got_vector, DEBUG
        NOTED got_ip, .there
        test dword [got_dr6], 1
        CHECK nz
        ; The handler returned with RF set, or else this would not be reached. With RF from here:
        SET got_count, 0
        pushfd
        or dword [esp], F_RF
        push dword CODE
        push dword .there2
        mov eax, .there2
        mov dr0, eax
        iret
.there2:
        nop
        NOTED got_count, 0
        mov ecx, 3
        mov eax, .again
        mov dr0, eax
.again: loop .again                     ; RF lasts for one instruction
        NOTED got_count, 3
        PASS
count:  or dword [ebp + F_FLAGS], F_RF
        ret
