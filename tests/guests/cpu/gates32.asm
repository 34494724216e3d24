; Interrupt and trap gates of 32 bits in protected mode, without a change of privilege (SDM 3A, 6.12.1).
%include "cpu.inc"
        START
        ; INT leaves the address behind it; an interrupt gate clears IF, TF, NT and RF.
        sti
        push dword 0x4002 | F_IF | F_CF ; NT
        popfd
        mov esi, esp
        SET hook, note_nothing
        int 0x40
behind: NOTED got_vector, 0x40
        NOTED got_ip, behind
        NOTED got_cs, CODE
        test dword [got_flags], F_IF
        CHECK nz
        test dword [got_flags], F_NT
        CHECK nz
        test dword [got_flags], F_CF
        CHECK nz
        test dword [handler_flags], F_IF | F_NT | F_TF | F_RF
        CHECK z
        lea eax, [esi - 12]
        CHECK_EQ [got_sp], eax
        CHECK_EQ esp, esi

        ; A trap gate leaves IF alone.
        GATE 0x41, CODE, entry_65, 0x8f
        sti
        int 0x41
        NOTED got_vector, 0x41
        test dword [handler_flags], F_IF
        CHECK nz
        cli
        int 0x41
        test dword [handler_flags], F_IF
        CHECK z

        ; IRET brings back all flags that the frame has, IF among them.
        pushfd
        pop eax
        test eax, F_IF
        CHECK z
        ; A fault leaves the address of the instruction.
        SET hook, 0
        FAULTS UD, 0, ud2
        xor edx, edx
        xor ecx, ecx
        FAULTS DE, 0, div ecx
        PASS

note_nothing:
        and dword [ebp + F_FLAGS], ~F_NT
        ret
