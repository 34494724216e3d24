; IRET with NT goes to the task in the link, which must be busy: #TS with its selector if not (SDM 2A, IRET).
%include "cpu.inc"
        START
        DESC SLOT1, task, 103, 0x89, 0
        mov word [tss], SLOT1
        pushfd
        or dword [esp], F_NT
        popfd
        FAULTS_WITH_ANY_CODE TS, iret
        NOTED got_error, SLOT1
        mov word [tss], DATA
        FAULTS_WITH_ANY_CODE TS, iret
        NOTED got_error, DATA
        mov word [tss], 0x0c            ; in the LDT
        FAULTS_WITH_ANY_CODE TS, iret
        NOTED got_error, 0x0c
        PASS
        align 16
task:   times 104 db 0
