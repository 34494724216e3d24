; The T bit of a TSS raises #DB in the new task before its first instruction, with DR6.BT (SDM 3A, 17.3.1.5).
%include "cpu.inc"
        START
        DESC SLOT1, task, 103, 0x89, 0
        mov dword [task + 0x20], entry
        mov dword [task + 0x24], 2
        mov dword [task + 0x38], ist1_end
        mov dword [task + 0x48], DATA
        mov dword [task + 0x4c], CODE
        mov dword [task + 0x50], DATA
        mov dword [task + 0x54], DATA
        mov word [task + 0x64], 1
        SET hook, nothing
        SET got_count, 0
        jmp SLOT1:0
entry:  NOTED got_count, 1
        NOTED got_vector, DEBUG
        NOTED got_ip, entry
        test dword [got_dr6], 1 << 15
        CHECK nz
        PASS
nothing: ret
        align 16
task:   times 104 db 0
